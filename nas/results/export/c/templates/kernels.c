/* A value lies in the arena as [channels][height][width], an int8_t q each, which stands for step * (q - zero). */

static int8_t arena[MODEL_ARENA];

/* The number rounded, halves to even, and the zero added; at the ends of int8_t where it lies beyond. */
static int8_t rounded(float number, int zero) {
    const float least = (float)(-128 - zero), most = (float)(127 - zero);
    const float inside = number < least ? least : number > most ? most : number;
    int whole = (int)inside;
    const float rest = inside - (float)whole;
    if (rest > 0.5f || (rest == 0.5f && whole % 2)) {
        whole++;
    } else if (rest < -0.5f || (rest == -0.5f && whole % 2)) {
        whole--;
    }
    return (int8_t)(whole + zero);
}

/* kernel: read_image */
static void read_image(const uint8_t *image, int8_t *to, const float *mean, const float *deviation, float step,
                       int zero) {
    int channel;
    int32_t position;
    for (channel = 0; channel < MODEL_CHANNELS; channel++) {
        for (position = 0; position < (int32_t)MODEL_HEIGHT * MODEL_WIDTH; position++) {
            const float pixel = (float)image[position * MODEL_CHANNELS + channel];
            *to++ = rounded((pixel - mean[channel]) / deviation[channel] / step, zero);
        }
    }
}

/* kernel: convolve */
/* Weights lie as [channels][inputs of a group][kernel][kernel]. */
typedef struct {
    const int8_t *weight;
    const int32_t *bias;
    const float *factor;
    uint16_t in_channels, in_height, in_width, channels, height, width, groups;
    uint8_t kernel, stride, padding, dilation;
    int8_t in_zero, zero;
} convolution;

static void convolve(const convolution *c, const int8_t *from, int8_t *to) {
    const int inputs = c->in_channels / c->groups, outputs = c->channels / c->groups, kernel = c->kernel;
    const int32_t plane = (int32_t)c->in_height * c->in_width;
    int channel, row, column, n, i, j;
    for (channel = 0; channel < c->channels; channel++) {
        const int8_t *group = from + channel / outputs * inputs * plane;
        const int8_t *weights = c->weight + (int32_t)channel * inputs * kernel * kernel;
        for (row = 0; row < c->height; row++) {
            for (column = 0; column < c->width; column++) {
                int32_t sum = c->bias[channel];
                for (i = 0; i < kernel; i++) {
                    const int y = row * c->stride - c->padding + i * c->dilation;
                    for (j = 0; j < kernel; j++) {
                        const int x = column * c->stride - c->padding + j * c->dilation;
                        if (y >= 0 && y < c->in_height && x >= 0 && x < c->in_width) {
                            const int8_t *pixel = group + (int32_t)y * c->in_width + x;
                            const int8_t *weight = weights + i * kernel + j;
                            for (n = 0; n < inputs; n++) {
                                sum += (pixel[n * plane] - c->in_zero) * weight[n * kernel * kernel];
                            }
                        }
                    }
                }
                *to++ = rounded((float)sum * c->factor[channel], c->zero);
            }
        }
    }
}

/* kernel: connect */
/* Weights lie as [outputs][inputs]. */
static void connect(const int8_t *from, int8_t *to, int32_t inputs, int outputs, const int8_t *weight,
                    const int32_t *bias, const float *factor, int in_zero, int zero) {
    int output;
    int32_t n;
    for (output = 0; output < outputs; output++) {
        int32_t sum = bias[output];
        for (n = 0; n < inputs; n++) {
            sum += (from[n] - in_zero) * *weight++;
        }
        to[output] = rounded((float)sum * factor[output], zero);
    }
}

/* kernel: connect_signs */
/* -1 or 1: whether a hash of the place in the matrix, counted from 1, is below half of its range. */
static int sign(uint64_t row, uint64_t column) {
    uint64_t mixed = (row * 7919 + column * 104729) % 65521;
    int time;
    for (time = 0; time < 3; time++) {
        mixed = (mixed * mixed + mixed * 31 + row * column) % 65521;
    }
    return mixed < 32761 ? 1 : -1;
}

/* The weights are a level an output, times signs that follow from a formula. */
static void connect_signs(const int8_t *from, int8_t *to, int32_t inputs, int outputs, const int8_t *level,
                          const int32_t *bias, const float *factor, int in_zero, int zero) {
    int output;
    int32_t n;
    for (output = 0; output < outputs; output++) {
        int32_t sum = 0;
        for (n = 0; n < inputs; n++) {
            sum += (from[n] - in_zero) * sign((uint64_t)output + 1, (uint64_t)n + 1);
        }
        to[output] = rounded((float)(sum * level[output] + bias[output]) * factor[output], zero);
    }
}

/* kernel: look_up */
static void look_up(const int8_t *from, int8_t *to, int32_t count, const int8_t *table) {
    while (count--) {
        *to++ = table[*from++ + 128];
    }
}

/* kernel: affine */
static void affine(const int8_t *from, int8_t *to, int channels, int32_t positions, const int8_t *weight,
                   const int32_t *bias, const float *factor, int in_zero, int zero) {
    int channel;
    int32_t position;
    for (channel = 0; channel < channels; channel++) {
        for (position = 0; position < positions; position++) {
            const int32_t sum = (*from++ - in_zero) * weight[channel] + bias[channel];
            *to++ = rounded((float)sum * factor[channel], zero);
        }
    }
}

/* kernel: pool */
/* The largest of each window, or the sum of its values times a weight and a factor. Beyond the edge lie zeros, which are
   never the largest. */
typedef struct {
    uint16_t channels, in_height, in_width, height, width, kernel_height, kernel_width;
    uint8_t stride, padding;
    int8_t weight, in_zero, zero; /* weight 0: the largest */
    float factor;
} windows;

static void pool(const windows *w, const int8_t *from, int8_t *to) {
    int channel, row, column, i, j;
    for (channel = 0; channel < w->channels; channel++, from += (int32_t)w->in_height * w->in_width) {
        for (row = 0; row < w->height; row++) {
            for (column = 0; column < w->width; column++) {
                int32_t sum = 0;
                int8_t largest = -128;
                for (i = 0; i < w->kernel_height; i++) {
                    for (j = 0; j < w->kernel_width; j++) {
                        const int y = row * w->stride - w->padding + i, x = column * w->stride - w->padding + j;
                        if (y >= 0 && y < w->in_height && x >= 0 && x < w->in_width) {
                            const int8_t value = from[(int32_t)y * w->in_width + x];
                            largest = value > largest ? value : largest;
                            sum += value - w->in_zero;
                        }
                    }
                }
                *to++ = w->weight ? rounded((float)(sum * w->weight) * w->factor, w->zero) : largest;
            }
        }
    }
}

/* kernel: convert */
/* In other steps. */
static void convert(const int8_t *from, int8_t *to, int32_t count, float in_step, float step, int in_zero, int zero) {
    while (count--) {
        *to++ = rounded(in_step * (float)(*from++ - in_zero) / step, zero);
    }
}

/* kernel: subsample */
/* Every stride-th position of the first channels; further channels are zeros. */
static void subsample(const int8_t *from, int8_t *to, int in_channels, int in_height, int in_width, int channels,
                      int stride, int8_t zero) {
    int channel, row, column;
    for (channel = 0; channel < channels; channel++) {
        for (row = 0; row < in_height; row += stride) {
            for (column = 0; column < in_width; column += stride) {
                *to++ = channel < in_channels ? from[((int32_t)channel * in_height + row) * in_width + column] : zero;
            }
        }
    }
}

/* kernel: move */
/* Each channel moved by whole positions, zeros where nothing comes in. */
static void move(const int8_t *from, int8_t *to, int channels, int height, int width, int kernel, int weight,
                 float factor, int in_zero, int zero) {
    const int moves = kernel * kernel;
    int step, row, column;
    int32_t channel;
    for (step = 0; step < moves; step++) {
        for (channel = (int32_t)step * channels / moves; channel < (int32_t)(step + 1) * channels / moves; channel++) {
            for (row = 0; row < height; row++) {
                for (column = 0; column < width; column++) {
                    const int y = row + step / kernel - kernel / 2, x = column + step % kernel - kernel / 2;
                    const int inside = y >= 0 && y < height && x >= 0 && x < width;
                    const int value = inside ? from[(channel * height + y) * width + x] - in_zero : 0;
                    *to++ = rounded((float)(value * weight) * factor, zero);
                }
            }
        }
    }
}

/* kernel: add */
/* As onnxruntime does on x86-64: of values from 0 to 255, by fused multiply-adds, for which double stands. */
static void add(const int8_t *one, const int8_t *other, int8_t *to, int32_t count, float one_factor,
                float other_factor, float summand) {
    while (count--) {
        const float sum = (float)((double)other_factor * (*other++ + 128) + summand);
        *to++ = rounded((float)((double)one_factor * (*one++ + 128) + sum), -128);
    }
}

/* kernel: multiply */
static void multiply(const int8_t *one, const int8_t *other, int8_t *to, int32_t count, float factor, int one_zero,
                     int other_zero, int zero) {
    while (count--) {
        const float product = (float)((int32_t)(*one++ - one_zero) * (*other++ - other_zero)) * factor;
        *to++ = rounded(product + (float)(zero + 128), -128);
    }
}

/* kernel: scale_channels */
static void scale_channels(const int8_t *from, const int8_t *gate, int8_t *to, int channels, int32_t positions,
                           float factor, int in_zero, int gate_zero, int zero) {
    int channel;
    int32_t position;
    for (channel = 0; channel < channels; channel++) {
        for (position = 0; position < positions; position++) {
            const float product = (float)((int32_t)(*from++ - in_zero) * (gate[channel] - gate_zero)) * factor;
            *to++ = rounded(product + (float)(zero + 128), -128);
        }
    }
}
