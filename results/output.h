/* results/output.h -- files that reports leave: whole or not at all, and pictures by gnuplot.  For
 * results/ alone. */
#ifndef HONE_OUTPUT_H
#define HONE_OUTPUT_H

#include <stddef.h>
#include <stdio.h>

/* A text that replaces a file's, or not at all.  What is no plain file, and all in /dev and /proc,
 * is written to as it is. */
int hone_output_write(const char *path, const char *text, size_t len);

/* A text that is written in pieces and then becomes a file: f is open_memstream()'s. */
struct hone_output {
    FILE *f;
    char *text;
    size_t len;
};
int hone_output_open(struct hone_output *o);
int hone_output_save(struct hone_output *o, const char *path); /* and closes it */
void hone_output_close(struct hone_output *o);

/* Makes the directory unless it is there. */
int hone_output_directory(const char *path);

/* Runs DIR/NAME.gp by gnuplot in DIR.  NULL, or why there is no picture. */
const char *hone_output_draw(const char *dir, const char *name);

/* A text as a cell of CSV (RFC 4180). */
void hone_output_cell(FILE *f, const char *text);

/* A text for gnuplot in single quotes. */
void hone_output_quote(FILE *f, const char *text, size_t len);

/* A picture: put writes its data, and a script behind a first line of comment; or it says why there
 * is nothing to draw.  DIR/NAME.dat and .gp, then .svg and .png; where there are no pictures, a line
 * on stderr says why. */
typedef const char *hone_output_put(const void *of, FILE *data, FILE *script);
int hone_output_plot(const char *dir, const char *name, const char *command, hone_output_put *put,
                     const void *of);

/* A title, and a grid. */
void hone_output_title(FILE *f, const char *title);

/* What scripts share: the two kinds of pictures.  A script sets what it likes, calls this, writes
 * its plot commands, which are run once for each kind, and ends with hone_output_gnuplot_end(). */
void hone_output_gnuplot_begin(FILE *f, const char *name, int width, int height);
void hone_output_gnuplot_end(FILE *f);

#endif
