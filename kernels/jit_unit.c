/* The text that a JIT kernel is compiled from: the kernel's own source with all it includes, and
 * between kernel.h and the rest the problem and the config as constants. */
#include "kernels/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXTS = 256 };

struct writer {
    FILE *f;
    char missing[96];
    int lenient;               /* 1: an include of what we have no text of stays as it is */
    char done[MAX_TEXTS];      /* text i of hone_jit_texts[] stands at the file's top already */
};

static int text_of(struct writer *w, const char *path)
{
    int i = 0;
    while (hone_jit_texts[i].path && strcmp(hone_jit_texts[i].path, path)) i++;
    if (hone_jit_texts[i].path && i < MAX_TEXTS) return i;
    if (!w->lenient) snprintf(w->missing, sizeof w->missing, "%s", path);
    return -1;
}

/* Writes a text, and in the place of each include of ours the text that it names: again where that
 * was included before, perhaps between #if and #endif; its guard then hides it. */
static void write_text(struct writer *w, const char *path)
{
    char name[96];
    int i = text_of(w, path), n = 0;
    if (i < 0 || w->done[i]) return;
    fprintf(w->f, "#line 1 \"%s\"\n", path);
    for (const char *s = hone_jit_texts[i].text, *next; *s; s = next) {
        next = strchr(s, '\n') ? strchr(s, '\n') + 1 : s + strlen(s);
        n++;
        if (sscanf(s, "#include \"%95[^\"\n]\"", name) == 1 &&
            !(w->lenient && text_of(w, name) < 0)) {
            write_text(w, name);
            fprintf(w->f, "#line %d \"%s\"\n", n + 1, path);
        } else {
            fwrite(s, 1, (size_t)(next - s), w->f);
        }
    }
}

/* What everything includes is there once. */
static void write_top(struct writer *w, const char *path)
{
    int i = text_of(w, path);
    write_text(w, path);
    if (i >= 0) w->done[i] = 1;
}

static void write_problem(FILE *f, const struct hone_problem *p)
{
    fprintf(f, "extern const struct hone_op hone_op_%s;\n", p->op->name);
    fprintf(f, "static const struct hone_problem hone_jit_problem = {\n");
    fprintf(f, "    &hone_op_%s, (enum hone_dtype)%d, %d, {", p->op->name, (int)p->dtype,
            p->layout);
    for (int i = 0; i < HONE_MAX_DIMS; i++) fprintf(f, " %ld,", (long)p->dim[i]);
    fprintf(f, " }, %luu, {", (unsigned long)p->attrs);
    for (int i = 0; i < HONE_MAX_NUMERIC; i++) fprintf(f, " %a,", p->value[i]);
    fprintf(f, " }\n};\n");
}

static void write_config(FILE *f, const struct hone_config *c)
{
    fprintf(f, "static const struct hone_config hone_jit_config = { {");
    for (int i = 0; i < HONE_MAX_PARAMS; i++) fprintf(f, " %d,", c->v[i]);
    fprintf(f, " } };\n");
}

/* Attributes are asked for by name, the op by its symbol: of this problem the compiler knows the
 * answers, of others (a convolution's products) the function and the pointer do. */
static void write_attributes(FILE *f, const struct hone_problem *p)
{
    fprintf(f, "static inline __attribute__((always_inline)) int\n"
               "hone_jit_has(const struct hone_problem *p, const char *name)\n{\n"
               "    if (p != &hone_jit_problem) return hone_problem_has(p, name);\n"
               "    return 0");
    for (int i = 0; i < HONE_MAX_ATTRS && p->op->attr[i].name; i++)
        if (p->attrs >> i & 1)
            fprintf(f, " || !__builtin_strcmp(name, \"%s\")", p->op->attr[i].name);
    fprintf(f, ";\n}\n#define hone_problem_has hone_jit_has\n");
    fprintf(f, "#define hone_problem_is(p, op_name) ((p) == &hone_jit_problem \\\n"
               "    ? !__builtin_strcmp(\"%s\", #op_name) : (p)->op == &hone_op_##op_name)\n",
            p->op->name);
}

/* "kernels/gemm/cpu_small.c": gemm_cpu_small, what HONE_SYM() makes its symbol of. */
static void write_module(FILE *f, const char *path)
{
    const char *s = strchr(path, '/') + 1;
    fprintf(f, "extern const struct hone_kernel *const hone_jit_module;\n"
               "__attribute__((visibility(\"default\")))\n"
               "const struct hone_kernel *const hone_jit_module = &HONE_SYM(");
    for (; *s && *s != '.'; s++) putc(*s == '/' ? '_' : *s, f);
    fprintf(f, ");\n");
}

char *hone_jit_unit(const struct hone_jit_source *s, const struct hone_problem *p,
                    const struct hone_config *c)
{
    char *text = NULL;
    size_t size;
    struct writer w = { .f = open_memstream(&text, &size) };
    if (!w.f) { hone_fail(HONE_ENOMEM, "the text of %s", s->path); return NULL; }
    fprintf(w.f, "#define HONE_JIT_BUILD 1\n#define HONE_ISA %s\n#define HONE_REAL %d\n%s",
            hone_isa_name(s->aot->isa), s->real,
            p->dtype == HONE_F16 ? "#define HONE_DIGITS 11\n" : "");
    write_top(&w, "kernels/kernel.h");
    write_problem(w.f, p);
    write_config(w.f, c);
    write_attributes(w.f, p);
    write_top(&w, "kernels/backend/cpu.h");
    write_text(&w, s->path);
    write_module(w.f, s->path);
    int bad = fclose(w.f);
    if (!bad && !w.missing[0]) return text;
    if (bad) hone_fail(HONE_ENOMEM, "the text of %s", s->path);
    else hone_fail(HONE_EINVAL, "the program does not hold the text of %s", w.missing);
    free(text);
    return NULL;
}

char *hone_jit_joined(const char *path)
{
    char *text = NULL;
    size_t size;
    struct writer w = { .f = open_memstream(&text, &size), .lenient = 1 };
    if (!w.f) { hone_fail(HONE_ENOMEM, "the text of %s", path); return NULL; }
    write_text(&w, path);
    if (!fclose(w.f) && size) return text;
    hone_fail(HONE_EINVAL, "the program does not hold the text of %s", path);
    free(text);
    return NULL;
}
