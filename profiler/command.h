/* profiler/command.h -- what the commands of this folder share. */
#ifndef HONE_COMMAND_H
#define HONE_COMMAND_H

#include "profiler/profiler.h"

#include <jansson.h>

enum { HONE_GOOD = 0, HONE_BAD = 1, HONE_USAGE = 2 }; /* exit codes */

/* Prints the standing message, after "command: " and the option it is about (or NULL), and returns
 * the exit code that goes with err. */
int hone_command_fail(const char *command, const char *option, int err);

/* Prints root (unless NULL, and takes it over); returns `code`, or HONE_BAD where that fails. */
int hone_command_end(const char *command, json_t *root, int code);

/* The groups of a GPU's counters on one chip, printed, or into *root unless that is NULL. */
int hone_gpu_counters(const char *chip, json_t **root);

/* "36 KiB", "1.5 MiB"; "-" for 0. */
const char *hone_bytes_text(int64_t bytes, char text[32]);

#endif
