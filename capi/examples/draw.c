/* Draws a prompt, and tells how far it is: draw MODEL PROMPT FILE.ppm */
#include <nijimi.h>
#include <stdio.h>
#include <stdlib.h>

static nijimi_context *context;

static void check(int status) {
    if (status != NIJIMI_OK) {
        fprintf(stderr, "draw: %s\n", nijimi_last_error(context));
        exit(status);
    }
}

int main(int argc, char **argv) {
    nijimi_model *model;
    nijimi_run *run;
    nijimi_draw_options options = {.size = sizeof options};
    nijimi_run_info info = {.size = sizeof info};
    nijimi_step_info step = {.size = sizeof step};
    if (argc != 4) {
        fprintf(stderr, "usage: draw MODEL PROMPT FILE.ppm\n");
        return NIJIMI_USAGE;
    }
    check(nijimi_context_new(&context));
    check(nijimi_model_open(context, argv[1], NULL, &model));
    check(nijimi_draw_options_init(context, model, &options)); /* what suits the model */
    options.seed = 1;
    check(nijimi_run_begin(context, model, argv[2], &options, &run));
    check(nijimi_run_describe(run, &info));
    unsigned char *pixels = malloc(info.bytes);

    int status;
    while ((status = nijimi_step(run, &step)) == NIJIMI_OK) {
        fprintf(stderr, "%zu of %zu\n", step.step, step.total);
    }
    check(status == NIJIMI_DONE ? NIJIMI_OK : status);
    check(nijimi_pictures(run, pixels, info.bytes));

    FILE *file = fopen(argv[3], "wb");
    if (file == NULL) {
        perror(argv[3]);
        return 1;
    }
    fprintf(file, "%s\n%zu %zu\n255\n", info.channels == 3 ? "P6" : "P5", info.width, info.height);
    fwrite(pixels, 1, info.bytes, file);
    fclose(file);
    free(pixels);
    nijimi_run_free(run);
    nijimi_model_free(model);
    nijimi_context_free(context);
    return 0;
}
