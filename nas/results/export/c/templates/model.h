/* An image classifier of $parameters parameters in 8-bit whole numbers. C99, no dependencies.

   An image is $bytes bytes: 8-bit values [$height][$width][$channels] (rows, columns, channels) as pictures have them;
   model_run normalises them. All memory that the network needs is one buffer of MODEL_ARENA bytes: it is not reentrant.
   Compilers must not be allowed inexact arithmetic (-ffast-math). */

#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_HEIGHT $height
#define MODEL_WIDTH $width
#define MODEL_CHANNELS $channels
#define MODEL_CLASSES $classes
#define MODEL_ARENA $arena

/* A score q stands for MODEL_SCORE_STEP * (q - MODEL_SCORE_ZERO), before the softmax. */
#define MODEL_SCORE_STEP $step
#define MODEL_SCORE_ZERO ($zero)

/* The scores [MODEL_CLASSES] of an image; the largest is that of the likeliest class. They stay until the next call. */
const int8_t *model_run(const uint8_t *image);

#endif
