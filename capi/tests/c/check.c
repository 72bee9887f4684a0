/* What a C program does with the library, checked: check DIGITS DAMAGED FOLDER [EMOJI LORA]; with the
 * last two it draws from prompts, too, and looks for devices. Pixels go to files in FOLDER,
 * which the test beside it compares with the runtime's. */
#include <assert.h>
#include <nijimi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) must((call), NIJIMI_OK, #call)
#define FAILS(status, call, says) (must((call), status, #call), said(says))

static nijimi_context *context;
static const char *folder;

static void must(int status, int wanted, const char *call) {
    if (status != wanted) {
        fprintf(stderr, "%s: %d, not %d: %s\n", call, status, wanted, nijimi_last_error(context));
        exit(1);
    }
}

static void said(const char *part) {
    if (strstr(nijimi_last_error(context), part) == NULL) {
        fprintf(stderr, "%s does not say %s\n", nijimi_last_error(context), part);
        exit(1);
    }
}

static void save(const char *name, const unsigned char *pixels, size_t len) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert(file != NULL && fwrite(pixels, 1, len, file) == len && fclose(file) == 0);
}

static unsigned char *load(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    assert(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *len = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*len);
    assert(fread(bytes, 1, *len, file) == *len && fclose(file) == 0);
    return bytes;
}

/* All of a run, with contexts of its own: for a thread. */
struct drawing {
    const nijimi_model *model;
    const char *prompt;
    nijimi_draw_options options;
    unsigned char *pixels;
    size_t bytes;
};

static void *draw(void *at) {
    struct drawing *drawing = at;
    nijimi_context *own;
    nijimi_run *run;
    nijimi_run_info info = {.size = sizeof info};
    must(nijimi_context_new(&own), NIJIMI_OK, "context");
    int found = nijimi_run_begin(own, drawing->model, drawing->prompt, &drawing->options, &run);
    must(found, NIJIMI_OK, nijimi_last_error(own));
    nijimi_context_free(own); /* the run goes on */
    MUST(nijimi_run_describe(run, &info));
    assert(info.bytes == info.count * info.width * info.height * info.channels);
    drawing->bytes = info.bytes;
    drawing->pixels = malloc(info.bytes);
    MUST(nijimi_pictures(run, drawing->pixels, info.bytes));
    nijimi_run_free(run);
    return NULL;
}

static void draw_to(const char *name, struct drawing drawing) {
    draw(&drawing);
    save(name, drawing.pixels, drawing.bytes);
    free(drawing.pixels);
}

/* Two threads draw with one model. */
static void draw_twice(struct drawing first, struct drawing second) {
    pthread_t thread;
    assert(pthread_create(&thread, NULL, draw, &second) == 0);
    draw(&first);
    assert(pthread_join(thread, NULL) == 0);
    assert(first.bytes == second.bytes && memcmp(first.pixels, second.pixels, first.bytes) == 0);
    free(first.pixels);
    free(second.pixels);
}

static void step_by_step(const nijimi_model *model, nijimi_draw_options options) {
    nijimi_run *run;
    nijimi_run_info info = {.size = sizeof info};
    nijimi_step_info step = {.size = sizeof step};
    MUST(nijimi_run_begin(context, model, "7", &options, &run));
    MUST(nijimi_run_describe(run, &info));
    unsigned char *pixels = malloc(info.bytes);
    for (size_t i = 1; i <= options.steps; i++) {
        MUST(nijimi_step(run, &step));
        assert(step.step == i && step.total == options.steps);
        MUST(nijimi_preview(run, pixels, info.bytes));
        if (i == 1) save("preview.raw", pixels, info.bytes);
    }
    assert(nijimi_step(run, NULL) == NIJIMI_DONE);
    FAILS(NIJIMI_USAGE, nijimi_pictures(run, pixels, info.bytes - 1), "len is 783, and the pictures have 784 bytes");
    FAILS(NIJIMI_USAGE, nijimi_pictures(run, NULL, info.bytes), "pixels is null");
    MUST(nijimi_pictures(run, pixels, info.bytes));
    save("steps.raw", pixels, info.bytes);
    nijimi_run_free(run);
    /* Cancelled: another begins after it. */
    MUST(nijimi_run_begin(context, model, "7", &options, &run));
    MUST(nijimi_step(run, NULL));
    nijimi_run_free(run);
    free(pixels);
}

static void errors(const char *damaged, const nijimi_model *model, nijimi_draw_options options) {
    nijimi_model *none = (nijimi_model *)&none;
    nijimi_run *run;
    FAILS(NIJIMI_FILE, nijimi_model_open(context, damaged, NULL, &none), damaged);
    assert(none == NULL);
    FAILS(NIJIMI_FILE, nijimi_model_open(context, "no such file", NULL, &none), "no such file");
    FAILS(NIJIMI_FILE, nijimi_model_open_bytes(context, (const uint8_t *)"GGUF", 4, NULL, &none), "");
    FAILS(NIJIMI_USAGE, nijimi_model_open(context, NULL, NULL, &none), "path is null");
    FAILS(NIJIMI_USAGE, nijimi_model_open(context, damaged, NULL, NULL), "is null");
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, NULL, "7", NULL, &run), "model is null");
    FAILS(NIJIMI_FILE, nijimi_run_begin(context, model, "seven", &options, &run), "no label \"seven\"");
    assert(run == NULL);
    assert(nijimi_step(NULL, NULL) == NIJIMI_USAGE && nijimi_context_new(NULL) == NIJIMI_USAGE);
    assert(nijimi_model_open(NULL, damaged, NULL, &none) == NIJIMI_USAGE && nijimi_last_error(NULL)[0] != 0);
    nijimi_run_free(NULL);
    nijimi_model_free(NULL);
    nijimi_context_free(NULL);

    nijimi_draw_options wrong = options;
    wrong.solver = "eulr";
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "7", &wrong, &run), "solver \"eulr\" is not known: there are ddpm,");
    wrong = options;
    wrong.negative_prompt = "blurry";
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "7", &wrong, &run), "negative_prompt is for models that read prompts");
    wrong = options;
    wrong.mask_len = 4;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "7", &wrong, &run), "mask is null");
    wrong = options;
    wrong.batch = 0;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "7", &wrong, &run), "batch is 0");
    nijimi_model_options where = {.size = sizeof where, .device = "tpu"};
    FAILS(NIJIMI_USAGE, nijimi_model_open(context, damaged, &where, &none), "device \"tpu\" is not known");
}

/* Structs of an older version, of a newer one, and of none. */
static void sizes(const nijimi_model *model, nijimi_draw_options options) {
    struct {
        nijimi_draw_options known;
        uint64_t newer;
    } more = {.newer = 9};
    nijimi_run *run;
    nijimi_plan plan = {.size = sizeof plan}, part = {.size = offsetof(nijimi_plan, peak_bytes)};
    more.known.size = sizeof more;
    MUST(nijimi_draw_options_init(context, model, &more.known));
    assert(more.known.size == sizeof more && more.newer == 0 && more.known.batch == 1);
    MUST(nijimi_plan_run(context, model, "7", &more.known, &plan));
    assert(plan.steps == more.known.steps && plan.peak_bytes > plan.weight_bytes && plan.weight_bytes > 1000000);
    more.newer = 1;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "7", &more.known, &run), "a field is set that this version");
    /* What follows the seed is as the model has it. */
    options.size = offsetof(nijimi_draw_options, batch);
    options.batch = 0;
    MUST(nijimi_plan_run(context, model, "7", &options, &part));
    assert(part.weight_bytes == plan.weight_bytes && part.peak_bytes == 0);
    options.size = offsetof(nijimi_draw_options, batch) + 1;
    FAILS(NIJIMI_USAGE, nijimi_plan_run(context, model, "7", &options, &plan), "within batch");
    options.size = 0;
    FAILS(NIJIMI_USAGE, nijimi_plan_run(context, model, "7", &options, &plan), "set it to sizeof(nijimi_draw_options)");
}

static void prompts(const char *path, const char *lora, const char *toy) {
    nijimi_model *model, *patched, *taught;
    nijimi_model_options where = {.size = sizeof where};
    MUST(nijimi_model_options_init(context, &where));
    where.device = "cpu";
    MUST(nijimi_model_open(context, path, &where, &model));
    nijimi_draw_options options = {.size = sizeof options};
    MUST(nijimi_draw_options_init(context, model, &options));
    assert(options.width == 64 && options.steps == 4 && options.guidance_scale == 1.0);
    options.guidance_scale = 3.0;
    options.steps = 2;
    options.seed = 5;
    struct drawing drawing = {.model = model, .prompt = "a red apple", .options = options};
    draw_to("apple.raw", drawing);
    draw_twice(drawing, drawing);

    drawing.options.batch = 2;
    drawing.options.negative_prompt = "green";
    drawing.options.width = 32;
    drawing.options.height = 48;
    drawing.options.solver = "euler_a";
    drawing.options.scheduler = "karras";
    draw_to("batch.raw", drawing);

    size_t n = 64 * 64;
    unsigned char *picture = malloc(3 * n), *mask = malloc(n);
    for (size_t i = 0; i < 3 * n; i++) picture[i] = (unsigned char)(i / 48);
    for (size_t i = 0; i < n; i++) mask[i] = i < n / 2 ? 255 : 0;
    drawing.options = options;
    drawing.options.init_image = picture;
    drawing.options.init_image_len = 3 * n;
    drawing.options.strength = 0.5;
    drawing.options.mask = mask;
    drawing.options.mask_len = n;
    draw_to("inpainted.raw", drawing);

    drawing.options = options;
    drawing.options.hires_width = 96;
    drawing.options.hires_height = 64;
    drawing.options.hires_steps = 3;
    drawing.options.hires_strength = 0.6;
    drawing.options.hires_upscaler = "lanczos";
    drawing.options.guidance_rescale = 0.7;
    draw_to("hires.raw", drawing);

    drawing.options = options;
    drawing.options.clip_skip = 2;
    drawing.options.guidance_normalization = 0.9;
    drawing.options.guidance_truncation = 0.4;
    draw_to("guided.raw", drawing);

    nijimi_run *refused;
    options.hires_upscaler = "magic";
    options.hires_width = options.hires_height = 128;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "x", &options, &refused), "there are latent, lanczos");
    options.hires_width = options.hires_height = 0;
    options.depth = mask;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "x", &options, &refused), "depth is 0x0: give its width");
    options.depth_width = options.depth_height = 64;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "x", &options, &refused), "depth");
    options.depth = NULL;
    const unsigned char *seen[] = {picture};
    const size_t sides[] = {64};
    options.references = seen;
    options.reference_widths = options.reference_heights = sides;
    options.reference_count = 1;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "x", &options, &refused), "references is for models that look");
    options.reference_widths = NULL;
    FAILS(NIJIMI_USAGE, nijimi_run_begin(context, model, "x", &options, &refused), "reference_widths is null");
    options.reference_count = 0;
    options.references = NULL;
    options.hires_upscaler = NULL;
    free(picture);
    free(mask);

    const char *paths[] = {lora};
    double strengths[] = {0.5};
    where.lora_paths = paths;
    where.lora_strengths = strengths;
    where.lora_count = 1;
    MUST(nijimi_model_open(context, path, &where, &patched));
    drawing.model = patched;
    drawing.options = options;
    draw_to("patched.raw", drawing);
    nijimi_model_free(patched);
    const char *toys[] = {toy};
    const char *words[] = {"<mine>"};
    where.lora_count = 0;
    where.lora_paths = NULL;
    where.lora_strengths = NULL;
    where.embedding_paths = toys;
    where.embedding_words = words;
    where.embedding_count = 1;
    MUST(nijimi_model_open(context, path, &where, &taught));
    drawing.model = taught;
    drawing.prompt = "a red <mine>";
    draw_to("taught.raw", drawing);
    nijimi_model_free(taught);
    nijimi_model_free(model); /* whose texts the options have */
}

/* Looked for last, and alone: drivers leak. */
static void devices(void) {
    size_t count;
    nijimi_device_info device = {.size = sizeof device};
    MUST(nijimi_device_count(context, &count));
    for (size_t i = 0; i < count; i++) {
        MUST(nijimi_device(context, i, &device));
        assert(device.name[0] != 0 && device.software <= 1);
    }
    FAILS(NIJIMI_USAGE, nijimi_device(context, count, &device), "no device");
}

int main(int argc, char **argv) {
    assert(argc == 4 || argc == 7);
    folder = argv[3];
    MUST(nijimi_context_new(&context));
    assert(nijimi_last_error(context)[0] == 0 && nijimi_version()[0] != 0);

    size_t len;
    nijimi_model *model;
    unsigned char *bytes = load(argv[1], &len);
    nijimi_model_options where = {.size = sizeof where, .device = "cpu"};
    MUST(nijimi_model_open_bytes(context, bytes, len, &where, &model));
    memset(bytes, 0, len); /* it has its own */
    free(bytes);
    nijimi_model_info info = {.size = sizeof info};
    MUST(nijimi_model_describe(context, model, &info));
    assert(strcmp(info.kind, "ddpm") == 0 && strcmp(info.device, "CPU") == 0 && info.width == 28 && info.channels == 1);
    assert(info.label_count == 10 && strcmp(nijimi_model_label(model, 7), "7") == 0 && !nijimi_model_label(model, 10));

    nijimi_draw_options options = {.size = sizeof options};
    MUST(nijimi_draw_options_init(context, model, &options));
    options.steps = 2;
    options.seed = 5;
    options.threads = 1; /* as all of this, so that valgrind, too, is done in seconds */
    options.guidance_scale = 1;
    step_by_step(model, options);
    errors(argv[2], model, options);
    sizes(model, options);
    options.steps = 1;
    struct drawing drawing = {.model = model, .prompt = "7", .options = options};
    draw_twice(drawing, drawing);
    nijimi_model_free(model);
    if (argc == 7) {
        prompts(argv[4], argv[5], argv[6]);
        devices();
    }
    nijimi_context_free(context);
    return 0;
}
