"""What the pages that nas writes hold."""

import base64
import gzip
import re


def data_of(page: str) -> str:
    """The data in a page, as JSON."""
    (packed,) = re.findall(r'<script type="application/gzip" id="data">([A-Za-z0-9+/=]*)</script>', page)
    return gzip.decompress(base64.b64decode(packed)).decode()
