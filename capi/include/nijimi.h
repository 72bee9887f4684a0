/* nijimi: pictures from small diffusion models.
 *
 *     nijimi_context *context = NULL;
 *     nijimi_model *model = NULL;
 *     nijimi_run *run = NULL;
 *     nijimi_context_new(&context);
 *     nijimi_model_open(context, "emoji.gguf", NULL, &model);
 *     nijimi_run_begin(context, model, "a red apple", NULL, &run);
 *     nijimi_pictures(run, pixels, sizeof pixels);          // 64 x 64 x 3 bytes
 *
 * Errors. Functions that can fail return NIJIMI_OK, or whose fault it is; nijimi_last_error says what was wrong and what
 * to do. After an error nothing was made, and what an object's pointer goes to is NULL. A null pointer where there must be none is
 * NIJIMI_USAGE, and no crash.
 *
 * Structs begin with their size, so that later versions can add fields: set it to sizeof, then call the struct's _init function, then
 * change what is to be another. What your version of a struct lacks is as _init fills it; what the library's version
 * lacks must be zero. Structs that are filled for you need the size, too.
 *
 * Texts are UTF-8 and end with a zero. What you pass is looked at during the call, and never kept. What you are given is
 * yours to read, never to free, and lasts as long as the object that it is of.
 *
 * Threads. There are no globals and no callbacks. A model may be used by any number of threads at once. A run and a
 * context are for one thread at a time; a context costs next to nothing, so give each thread its own, and its errors are its own.
 * A model and a run may outlive the context, and a run its model.
 */
#ifndef NIJIMI_H
#define NIJIMI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nijimi_context nijimi_context;
typedef struct nijimi_model nijimi_model;
typedef struct nijimi_run nijimi_run;

/* What functions return; the positive ones are also the exit codes of the program nijimi. */
enum {
    NIJIMI_DONE = -1,    /* nijimi_step: all steps are made */
    NIJIMI_OK = 0,
    NIJIMI_INTERNAL = 1, /* of the library: please report it */
    NIJIMI_USAGE = 2,    /* of what was asked for: a null pointer, a number out of its range, an unknown name */
    NIJIMI_FILE = 3,     /* of a file, its weights, or a label that the model does not know */
    NIJIMI_DEVICE = 4    /* of a GPU: it is missing, or fails */
};

/* The library's version, "0.1.0" for example. */
const char *nijimi_version(void);

/* ---- Contexts: where errors are told ---- */

int nijimi_context_new(nijimi_context **context);

/* NULL is nothing to free; so it is of models and runs. */
void nijimi_context_free(nijimi_context *context);

/* What was wrong with the last call with this context, or with one of its runs, that failed; empty if none did. It lasts
 * until the next one fails. */
const char *nijimi_last_error(nijimi_context *context);

/* ---- Devices ---- */

typedef struct nijimi_device_info {
    size_t size;
    const char *name;
    const char *kind;   /* "discrete", "integrated", "virtual", "cpu" or "other" */
    const char *api;    /* "vulkan", "metal" or "dx12" */
    const char *driver;
    uint64_t software;  /* 1 if it runs shaders on the CPU: slower than the library's own kernels, and never chosen by "auto" */
} nijimi_device_info;

/* Looks which GPUs there are. What nijimi_device told before, with this context, is gone then. */
int nijimi_device_count(nijimi_context *context, size_t *count);

/* One of them; for drawing there its name is "gpu:0" and so on. */
int nijimi_device(nijimi_context *context, size_t index, nijimi_device_info *info);

/* ---- Models ---- */

typedef struct nijimi_model_options {
    size_t size;
    const char *device;              /* "auto" (a real GPU if one works, else the CPU), "cpu", "gpu" or "gpu:0"; NULL: "auto" */
    const char *const *lora_paths;   /* LoRAs (.safetensors), of models that read prompts */
    const double *lora_strengths;    /* one each; NULL: 1 */
    size_t lora_count;
    const char *weight_type;         /* of a checkpoint: "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k" or "q4_0"; NULL: "f16" */
    const char *cache;               /* a folder for a GPU's compiled shaders, for a faster start; NULL: none is written */
    const char *const *embedding_paths; /* textual inversions (.safetensors), of models that read prompts */
    const char *const *embedding_words; /* what stands for each in prompts; NULL, for all or one: the file's own, or its name */
    size_t embedding_count;
} nijimi_model_options;

int nijimi_model_options_init(nijimi_context *context, nijimi_model_options *options);

/* Opens a weight file (.gguf), or a published checkpoint: a folder of diffusers, or a .safetensors file, which is converted to a temporary
 * file on the way. The weights are in memory then. The file must not be changed in place or cut while the model
 * is there; replacing it by another is fine. Options may be NULL. */
int nijimi_model_open(nijimi_context *context, const char *path, const nijimi_model_options *options, nijimi_model **model);

/* Opens a weight file that is in memory. The bytes are copied: they stay yours, and may go after the call. */
int nijimi_model_open_bytes(nijimi_context *context, const uint8_t *bytes, size_t len, const nijimi_model_options *options,
                            nijimi_model **model);

void nijimi_model_free(nijimi_model *model);

typedef struct nijimi_model_info {
    size_t size;
    const char *kind;      /* "latent-diffusion" reads prompts, "ddpm" takes labels, "vae" and "hvae" draw without steps */
    const char *name;      /* of the model, or empty */
    const char *license;   /* of the weights, or empty */
    const char *device;    /* the GPU's name, or "CPU" */
    size_t width;          /* of its pictures, if nothing else is asked */
    size_t height;
    size_t channels;       /* 1 (gray) or 3 (red, green, blue) */
    size_t multiple;       /* of which width and height must be multiples; 0 if they cannot be chosen */
    size_t label_count;
    uint64_t weight_bytes; /* in memory */
} nijimi_model_info;

int nijimi_model_describe(nijimi_context *context, const nijimi_model *model, nijimi_model_info *info);

/* The name of a label, which is what its prompt is; NULL beyond the last. */
const char *nijimi_model_label(const nijimi_model *model, size_t index);

/* ---- Drawing ---- */

typedef struct nijimi_draw_options {
    size_t size;
    const char *negative_prompt;  /* what the pictures shall not show; without guidance it has no effect */
    uint64_t seed;                /* picture i has the seed seed + i, whatever the batch */
    size_t batch;                 /* pictures that are drawn together: memory grows with it */
    size_t width;
    size_t height;
    size_t steps;                 /* 0: what suits the solver */
    double guidance_scale;        /* of classifier-free guidance: 1 is none */
    const char *solver;           /* "ddim", "euler_a", "dpm++2m" and so on: the names of the program's --sampling-method;
                                     NULL: the model's own */
    const char *scheduler;        /* how noise levels are spread: "karras" and so on, as --scheduler; NULL: the solver's own */
    const uint8_t *init_image;    /* a picture to start from: height x width x 3 bytes, or as many of them as the batch */
    size_t init_image_len;        /* in bytes */
    double strength;              /* how much of it is replaced, 0 to 1 */
    const uint8_t *mask;          /* of it: 128 and more is repainted, less is kept; height x width bytes, or as many of them as the batch */
    size_t mask_len;              /* in bytes */
    size_t threads;               /* of the CPU; 0: one for each core. The pictures do not depend on it */
    uint64_t memory_limit;        /* bytes that a network may take while it works, weights not counted; 0: any */
    double image_guidance_scale;  /* how strongly init_image is kept to, 1 and more, of models that change a picture by instruction;
                                     0: as suits them */
    size_t clip_skip;             /* layers of the text encoders that are left out: 2 the last, 0 as trained */
    double guidance_rescale;      /* how far contrast of strong guidance is taken back, 0 to 1 */
    double guidance_normalization; /* how many times the conditional answer's length a guided one may have (Z-Image); 0: any */
    double guidance_truncation;   /* the picture's share, 0 to 1, from which on there is no guidance (Z-Image); 0: all steps have it */
    size_t hires_width;           /* of a second pass over the picture, enlarged; 0 and 0: none */
    size_t hires_height;
    size_t hires_steps;           /* 0: as many as the first pass has */
    double hires_strength;        /* how much is replaced in it, above 0, at most 1 */
    const char *hires_upscaler;   /* how the picture is enlarged: "latent" or "lanczos"; NULL: "latent" */
    const uint8_t *depth;         /* a picture of how near everything is, more is nearer, of models that are led by it;
                                     depth_height x depth_width bytes, of any size */
    size_t depth_width;
    size_t depth_height;
    const uint8_t *const *references; /* pictures that are looked at (FLUX.2), height x width x 3 bytes each */
    const size_t *reference_widths;   /* one each, multiples of nijimi_model_info's multiple, as are the heights */
    const size_t *reference_heights;
    size_t reference_count;
} nijimi_draw_options;

/* Fills in what suits the model: size, steps, guidance, solver, as its file says. Its texts last as long as the model. */
int nijimi_draw_options_init(nijimi_context *context, const nijimi_model *model, nijimi_draw_options *options);

typedef struct nijimi_plan {
    size_t size;
    uint64_t weight_bytes; /* of the model */
    uint64_t peak_bytes;   /* the most at once, weights included, the program itself not */
    size_t steps;
    size_t evaluations;    /* of the network: some solvers make several in a step */
} nijimi_plan;

/* What a run would take: nothing is drawn. Arguments as of nijimi_run_begin. */
int nijimi_plan_run(nijimi_context *context, const nijimi_model *model, const char *prompt,
                    const nijimi_draw_options *options, nijimi_plan *plan);

/* Begins a run. The prompt is words, or, of a model of labels, the name of one; NULL or empty is any picture. Options may be
 * NULL. Nothing of them is kept. */
int nijimi_run_begin(nijimi_context *context, const nijimi_model *model, const char *prompt,
                     const nijimi_draw_options *options, nijimi_run **run);

typedef struct nijimi_run_info {
    size_t size;
    size_t count;    /* of pictures */
    size_t width;
    size_t height;
    size_t channels; /* 1 (gray) or 3 (red, green, blue) */
    size_t bytes;    /* count x height x width x channels */
} nijimi_run_info;

int nijimi_run_describe(nijimi_run *run, nijimi_run_info *info);

typedef struct nijimi_step_info {
    size_t size;
    size_t step;     /* which was made, from 1 */
    size_t total;    /* of how many */
    double timestep; /* the noise level, as the network knows it */
} nijimi_step_info;

/* Makes the next step: NIJIMI_OK, and NIJIMI_DONE where none is left. info may be NULL. To cancel, free the run. */
int nijimi_step(nijimi_run *run, nijimi_step_info *info);

/* What the pictures will be, as the last step guesses: into as many bytes as nijimi_run_describe says, picture after picture,
 * row by row from the top, the channels of a pixel side by side. */
int nijimi_preview(nijimi_run *run, uint8_t *pixels, size_t len);

/* The pictures, after the steps that are left: into bytes as of nijimi_preview. */
int nijimi_pictures(nijimi_run *run, uint8_t *pixels, size_t len);

/* Ends a run at any step. */
void nijimi_run_free(nijimi_run *run);

#ifdef __cplusplus
}
#endif

#endif
