/* Reads images from stdin, $bytes bytes each: 8-bit values [$height][$width][$channels] (rows, columns, channels), and
   prints two lines for each: the number and the name of the likeliest class; the scores of all classes. */

#include <stdio.h>

#include "model.h"

static const char *const names[MODEL_CLASSES] = {
$names
};

int main(void) {
    static uint8_t image[MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS];
    size_t images = 0, bytes;
    while ((bytes = fread(image, 1, sizeof image, stdin)) == sizeof image) {
        const int8_t *scores = model_run(image);
        int class, best = 0;
        for (class = 1; class < MODEL_CLASSES; class++) {
            best = scores[class] > scores[best] ? class : best;
        }
        printf("%d %s\n", best, names[best]);
        for (class = 0; class < MODEL_CLASSES; class++) {
            printf("%s%.7g", class ? " " : "", MODEL_SCORE_STEP * (scores[class] - MODEL_SCORE_ZERO));
        }
        printf("\n");
        images++;
    }
    if (bytes || !images) {
        fprintf(stderr, "an image is %u bytes; stdin ended after %u\n", (unsigned)sizeof image, (unsigned)bytes);
        return 2;
    }
    return 0;
}
