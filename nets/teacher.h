/* nets/teacher.h -- a trained net from whose logits another one learns.  For nets/ alone; others
 * include nets.h. */
#ifndef HONE_NETS_TEACHER_H
#define HONE_NETS_TEACHER_H

#include "nets/feed.h"

/* Opens t->teacher as t->options.teacher says, once the student's nets are open: an error where the
 * two do not go together, or the teacher's features were normalised otherwise than t->train's. */
int hone_teacher_open(struct hone_trainer *t, struct hone_device *d);
void hone_teacher_close(struct hone_teacher *teacher);

/* Makes the logits of the rows order[0..net->batch), which lie in net's input, what net's next step
 * reads; adds the seconds to t->teacher.seconds.  net: the trainer's net or rest. */
int hone_teacher_answer(struct hone_trainer *t, struct hone_net *net, const int64_t *order);

#endif
