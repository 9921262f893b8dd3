/* results/profile.h -- the parts of hone_profile_open(), and its JSON.  For results/ alone. */
#ifndef HONE_PROFILE_H
#define HONE_PROFILE_H

#include "results/results.h"

#include <jansson.h>

/* profile_alone.c: each part by itself, with warm and with cold caches, and under counters. */
int hone_profile_alone(struct hone_profile *prof, const char *counters);

/* profile_activity.c: one step more, with what ran on a GPU recorded, where there is one. */
int hone_profile_activity(struct hone_profile *prof);

/* As events of Chrome's trace format, by layer; NULL: nothing was recorded. */
json_t *hone_profile_activity_json(const struct hone_profile *prof);

/* profile_why.c: the records behind each choice, which the net need not be assembled for. */
int hone_profile_look_up(struct hone_profile *prof, struct hone_db *db,
                         const struct hone_device *d);

/* The roof over each part, and who could not be chosen. */
int hone_profile_explain(struct hone_profile *prof, struct hone_db *db);

/* profile_json.c: all that was measured, in the form that results/layers.h reads.  NULL: no memory.
 */
json_t *hone_profile_json(const struct hone_profile *prof);

#endif
