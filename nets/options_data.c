/* Options about data, for every command that reads a data set with a net. */
#include "nets/options.h"

#include <string.h>

static const double SPLIT = 0.8;

enum { DATA = 'D', SPLIT_KEY = 256, LAST, TARGET, NO_NORMALISE, LIMIT, AUGMENT, FEED };

static const struct argp_option options[] = {
    { "data", DATA, "DATA", 0,
      "name, directory or file, see `hone data` (default: letter for letter-mlp, housing for "
      "housing-mlp, else fashion-mnist)",
      1 },
    { NULL, 0, NULL, 0, "More of the data:", 3 },
    { "split", SPLIT_KEY, "SHARE", 0,
      "merge training and test rows, and train on this share of them (default: the source's own "
      "split, else 0.8)",
      3 },
    { "limit", LIMIT, "ROWS", 0, "train on the first ROWS rows only", 3 },
    { "last", LAST, "HOW", 0, "rows that fill no batch: short, a short batch (default), or drop",
      3 },
    { "no-normalise", NO_NORMALISE, NULL, 0,
      "leave features as they are; else they get mean 0 and deviation 1", 3 },
    { "target", TARGET, "COL", 0,
      "target column of a CSV file, or coarse of CIFAR-100, see `hone data`", 3 },
    { "augment", AUGMENT, "HOW", 0,
      "change training pictures each time: crop:PIXELS pads by so many black ones and cuts out at "
      "a "
      "random place, flip mirrors every second one; crop:4,flip: both",
      3 },
    { "feed", FEED, "HOW", 0,
      "who makes the next batch: background, a thread while the step runs, or inline (default: the "
      "GPU itself where the data fit into half of its memory, else by the size of a batch)",
      3 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct hone_data_choice *c = state->input;
    switch (key) {
    case DATA: c->data = arg; return 0;
    case SPLIT_KEY: c->split = hone_option_real(state, "split", arg, 0, 1, 1); return 0;
    case LIMIT: c->limit = hone_option_whole(state, "limit", arg, 1, INT64_MAX); return 0;
    case LAST: c->drop_last = hone_option_choice(state, "last", arg, "short", "drop"); return 0;
    case NO_NORMALISE: c->raw = 1; return 0;
    case TARGET: c->target = arg; return 0;
    case AUGMENT:
        if (hone_augment_parse(&c->augment, arg)) argp_error(state, "--augment %s", hone_errmsg());
        return 0;
    case FEED:
        c->feeding = hone_option_choice(state, "feed", arg, "inline", "background")
                         ? HONE_FEED_BACKGROUND
                         : HONE_FEED_INLINE;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp hone_data_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };

const char *hone_data_of_net(const char *net)
{
    if (!strcmp(net, "letter-mlp")) return "letter";
    return strcmp(net, "housing-mlp") ? "fashion-mnist" : "housing";
}

static int limit_and_scale(struct hone_data *train, struct hone_data *test,
                           const struct hone_data_choice *c)
{
    if (c->limit > 0 && c->limit < train->rows) train->rows = c->limit;
    return c->raw ? HONE_OK : hone_data_normalise(train, test);
}

int hone_data_choose(struct hone_data *train, struct hone_data *test,
                     const struct hone_data_choice *c, uint64_t seed)
{
    int err = hone_data_open(train, test, c->data, c->target);
    if (!err && (c->split > 0 || !test->rows))
        err = hone_data_split(train, test, c->split > 0 ? c->split : SPLIT, seed);
    return err ? err : limit_and_scale(train, test, c);
}

int hone_data_choose_fold(struct hone_data *train, struct hone_data *test,
                          const struct hone_data_choice *c, int folds, int fold, uint64_t seed)
{
    int err = hone_data_open(train, test, c->data, c->target);
    if (!err) err = hone_data_fold(train, test, folds, fold, seed);
    return err ? err : limit_and_scale(train, test, c);
}
