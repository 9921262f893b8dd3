/* Two buffers and a thread: it fills one while the step reads the other.  What is in a batch
 * depends on the order and the key alone, so the results are those of gathering in line, bit by
 * bit. */
#include "nets/feed.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Below this a batch is gathered (some 0.1 us per KiB) about as fast as two threads tell each other
 * of it (some 10 us each way). */
static const int64_t BACKGROUND_BYTES = 512 << 10;

static void gather(struct hone_feed *f, const struct hone_batch *b)
{
    struct hone_feed_source *s = &f->source;
    int64_t left = s->end - s->at;
    int n = left >= s->batch ? s->batch : s->rest && left > s->rest ? s->rest : (int)left;
    if (s->augment.crop || s->augment.flip)
        hone_data_gather_augmented(s->data, s->order + s->at, n, &s->augment, s->key, b->x,
                                   b->target);
    else
        hone_data_gather(s->data, s->order + s->at, n, b->x, b->target);
    s->at += n;
}

static void *fill(void *arg)
{
    struct hone_feed *f = arg;
    pthread_mutex_lock(&f->lock);
    while (!f->stop && f->source.at < f->source.end) {
        /* The batch taken last is being read: only the one before it is free. */
        if (f->filled - f->taken >= (f->taken ? 1 : 2)) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        pthread_mutex_unlock(&f->lock);
        gather(f, &f->slot[f->filled % 2]);
        pthread_mutex_lock(&f->lock);
        f->filled++;
        pthread_cond_signal(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* The first batch is wanted at once, so it is made here.  Signals are the main thread's. */
static int start(struct hone_feed *f)
{
    sigset_t all, old;
    double started = hone_now();
    if (f->source.at < f->source.end) {
        gather(f, &f->slot[0]);
        f->filled = 1;
    }
    f->wait = hone_now() - started;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    f->running = !pthread_create(&f->thread, NULL, fill, f);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return f->running;
}

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

int hone_feed_open(struct hone_feed *f, const struct hone_feed_source *s, enum hone_feeding how)
{
    const struct hone_data *d = s->data;
    size_t batch = (size_t)s->batch,
           row = (size_t)d->h * (size_t)d->w * (size_t)d->c * sizeof(float),
           target = d->label ? sizeof *d->label : (size_t)d->outputs * sizeof *d->y;
    memset(f, 0, sizeof *f);
    f->source = *s;
    if (s->resident) return hone_resident_epoch(s->resident, s->order, s->key);
    f->background = how == HONE_FEED_BACKGROUND ||
                    (how == HONE_FEED_AUTO && (int64_t)(batch * row) >= BACKGROUND_BYTES &&
                     sysconf(_SC_NPROCESSORS_ONLN) > 1);
    if (!f->background) return HONE_OK;
    for (int i = 0; i < 2; i++) {
        f->slot[i].x = aligned_alloc(64, whole_lines(batch * row));
        f->slot[i].target = aligned_alloc(64, whole_lines(batch * target));
    }
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    int good = f->slot[0].x && f->slot[0].target && f->slot[1].x && f->slot[1].target && start(f);
    if (good) return HONE_OK;
    hone_feed_close(f);
    return hone_fail(HONE_ENOMEM, "no memory or thread to make batches of %d rows", s->batch);
}

void hone_feed_next(struct hone_feed *f, struct hone_batch *b)
{
    double started = hone_now();
    if (f->background) {
        pthread_mutex_lock(&f->lock);
        while (f->filled == f->taken) pthread_cond_wait(&f->changed, &f->lock);
        *b = f->slot[f->taken++ % 2];
        pthread_cond_signal(&f->changed);
        pthread_mutex_unlock(&f->lock);
    } else
        gather(f, b);
    f->wait += hone_now() - started;
}

int hone_feed_gather(struct hone_feed *f, int n, void *x, void *target)
{
    const int64_t at = f->source.at;
    f->source.at += n;
    return hone_resident_gather(f->source.resident, at, n, x, target);
}

void hone_feed_close(struct hone_feed *f)
{
    if (f->background) {
        pthread_mutex_lock(&f->lock);
        f->stop = 1;
        pthread_cond_signal(&f->changed);
        pthread_mutex_unlock(&f->lock);
        if (f->running) pthread_join(f->thread, NULL);
        pthread_mutex_destroy(&f->lock);
        pthread_cond_destroy(&f->changed);
    }
    for (int i = 0; i < 2; i++) {
        free(f->slot[i].x);
        free(f->slot[i].target);
    }
    memset(f, 0, sizeof *f);
}
