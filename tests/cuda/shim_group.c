/* The instructions of kernels/backend/cuda_wgmma.cuh for the shim, as late as they may come: a box
 * is there when nobody could go on without it (or at once, in descending order of threads), and a
 * product is computed when it is waited for.  Until then the box's place and the sums are not
 * numbers: so who does not wait has wrong results, as has who gives a place back too early. */
#include "tests/cuda/half.h"
#include "tests/cuda/shim.h"
#include "tests/cuda/shim_warp.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { GATES = 32, BOXES = 256, PRODUCTS = 16, SUMS = 128, THREADS = 1024, BF16 = 0, F16 = 1, TF32 = 2 };

/* Shared memory begins here for descriptors: on no boundary that a kernel may count on. */
enum { SHARED_FROM = 1040 };

unsigned group_address(const void *p)
{
    return (unsigned)((const char *)p - (const char *)shim_now.shared) + SHARED_FROM;
}

static char *shared_at(unsigned address) { return (char *)shim_now.shared + address - SHARED_FROM; }

static int is_shared(unsigned address, unsigned bytes)
{
    return address >= SHARED_FROM && address + bytes <= SHARED_FROM + shim_shared_bytes();
}

static unsigned swizzled(unsigned address) { return address ^ (address >> 7 & 7) << 4; }

/* ---- gates ---- */

static struct gate {
    unsigned address, count, left, phase, maker, epoch;
    int is_made;                      /* behind gates_made() */
    long bytes;                       /* that are expected and not there */
} gates[GATES];
static unsigned ngates;

static struct box { struct shim_map map; char *to; unsigned gate; int row, col; } boxes[BOXES];
static unsigned nboxes;

/* A thread's products: those of groups that have ended, and the one that is being asked for. */
static struct thread {
    unsigned waits_for;               /* a gate, at `parity` */
    int parity, is_fenced;
    unsigned nproducts, ended, group; /* products; of these, in groups that have ended; groups */
    struct product {
        float *d;
        unsigned long long a, b;
        int add, kind, n, a_turned, b_turned;
        unsigned group;
    } product[PRODUCTS];
    float sum[SUMS];                  /* what d will be, of the products done so far */
} threads[THREADS];

static struct thread *me(void) { return &threads[shim_lane_now()->number]; }

void shim_group_begin(void)
{
    ngates = nboxes = 0;
    for (unsigned i = 0; i < THREADS; i++)
        threads[i].is_fenced = 0, threads[i].nproducts = threads[i].ended = threads[i].group = 0;
}

void shim_group_end(void)
{
    unsigned left = 0;
    for (unsigned i = 0; i < THREADS; i++) left += threads[i].nproducts;
    if (nboxes) shim_wrong("%u boxes are under way as the block ends", nboxes, 0, 0);
    if (left) shim_wrong("%u products are not waited for as the block ends", left, 0, 0);
}

void gate_make(unsigned long long *at, int arrivals)
{
    const unsigned address = group_address(at), number = shim_lane_now()->number;
    if (ngates == GATES || address % 8 || !is_shared(address, 8) || arrivals < 1) {
        shim_wrong("thread %u makes a gate for %u arrivals that cannot be", number,
                   (unsigned)arrivals, 0);
        return;
    }
    gates[ngates++] = (struct gate){ .address = address, .count = (unsigned)arrivals,
                                     .left = (unsigned)arrivals, .maker = number,
                                     .epoch = shim_epoch() };
}

void gates_made(void)
{
    for (unsigned i = 0; i < ngates; i++)
        if (gates[i].maker == shim_lane_now()->number) gates[i].is_made = 1;
}

/* The number of a gate that this thread may use. */
static unsigned gate_at(const unsigned long long *at)
{
    const unsigned address = group_address(at), number = shim_lane_now()->number;
    unsigned i = 0;
    while (i < ngates && gates[i].address != address) i++;
    if (i == ngates) {
        shim_wrong("thread %u is at byte %u of shared memory, where no gate is", number,
                   address - SHARED_FROM, 0);
        shim_give_up();
    }
    if (!gates[i].is_made || (gates[i].maker != number && gates[i].epoch == shim_epoch()))
        shim_wrong("thread %u is at a gate that thread %u may not have made", number,
                   gates[i].maker, 0);
    return i;
}

static void may_open(struct gate *g)
{
    if (g->left || g->bytes) return;
    g->phase ^= 1;
    g->left = g->count;
}

static void arrive(struct gate *g, int bytes)
{
    if (!g->left) shim_wrong("thread %u arrives where all have", shim_lane_now()->number, 0, 0);
    else g->left--;
    g->bytes += bytes;
    may_open(g);
}

void gate_arrive(unsigned long long *at) { arrive(&gates[gate_at(at)], 0); }
void gate_expect(unsigned long long *at, int bytes) { arrive(&gates[gate_at(at)], bytes); }

int shim_gate_is_open(unsigned thread)
{
    const struct thread *t = &threads[thread];
    return gates[t->waits_for].phase != (unsigned)t->parity;
}

void gate_wait(unsigned long long *at, int parity)
{
    struct thread *t = me();
    t->waits_for = gate_at(at);
    t->parity = parity & 1;
    if (!shim_gate_is_open(shim_lane_now()->number)) shim_wait_gate();
}

/* ---- boxes ---- */

static void bring(const struct box *b)
{
    const struct shim_map *m = &b->map;
    struct gate *g = &gates[b->gate];
    const unsigned at = group_address(b->to);
    for (unsigned r = 0; r < m->box_rows; r++)
        for (unsigned c = 0; c < m->box_cols; c++) {
            const int64_t row = (int64_t)b->row + r, col = (int64_t)b->col + c;
            char *to = shared_at(swizzled(at + r * 128 + c * m->size));
            if (row < 0 || row >= m->rows || col < 0 || col >= m->cols) memset(to, 0, m->size);
            else memcpy(to, m->from + row * m->pitch + col * m->size, m->size);
        }
    g->bytes -= (long)m->box_rows * 128;
    may_open(g);
}

/* One of those under way, the one asked for last or first. */
int shim_box_comes(unsigned order)
{
    if (!nboxes) return 0;
    const unsigned i = order % 2 ? 0 : nboxes - 1;
    const struct box b = boxes[i];
    memmove(&boxes[i], &boxes[i + 1], (--nboxes - i) * sizeof *boxes);
    bring(&b);
    return 1;
}

void box_fetch(void *to, const struct hone_cuda_map *map, unsigned long long *at, int row, int col)
{
    const struct shim_map *m = (const struct shim_map *)(const void *)map->word;
    const unsigned number = shim_lane_now()->number, address = group_address(to);
    if (memcmp(m->magic, SHIM_MAP, sizeof m->magic)) {
        shim_wrong("thread %u fetches a box of no map", number, 0, 0);
        shim_give_up();
    }
    if (address % 128 || !is_shared(address, m->box_rows * 128) || nboxes == BOXES) {
        shim_wrong("thread %u fetches a box to byte %u of shared memory", number,
                   address - SHARED_FROM, 0);
        shim_give_up();
    }
    for (int64_t r = row < 0 ? 0 : row; r < (int64_t)row + m->box_rows && r < m->rows; r++) {
        const int64_t from = col < 0 ? 0 : col, end = (int64_t)col + m->box_cols;
        const int64_t n = (end < m->cols ? end : m->cols) - from;
        if (n > 0) shim_look(m->from + r * m->pitch + from * m->size, (unsigned)n * m->size, 0);
    }
    boxes[nboxes++] = (struct box){ *m, to, gate_at(at), row, col };
    memset(to, 0xff, (size_t)m->box_rows * 128);
    if (shim_order() == 1) shim_box_comes(0);
}

/* ---- products ---- */

void group_fence(void) { me()->is_fenced = 1; }

void group_end(void)
{
    struct thread *t = me();
    t->group++;
    t->ended = t->nproducts;
}

/* Where number (row, k) of a matrix lies, row being one of C's rows or columns; size: bytes of a
 * number. */
static unsigned place(unsigned long long matrix, int turned, unsigned row, unsigned k,
                      unsigned size)
{
    const unsigned at = (unsigned)(matrix & 0x3fff) << 4;
    const unsigned lead = (unsigned)(matrix >> 16 & 0x3fff) << 4;
    const unsigned stride = (unsigned)(matrix >> 32 & 0x3fff) << 4;
    return swizzled(turned ? at + row / 64 * lead + k / 8 * stride + k % 8 * 128 + row % 64 * size
                           : at + row / 8 * stride + row % 8 * 128 + k * size);
}

static float number_at(unsigned long long matrix, int turned, unsigned row, unsigned k, int kind)
{
    const unsigned size = kind == TF32 ? 4 : 2, address = place(matrix, turned, row, k, size);
    uint32_t bits;
    uint16_t half;
    float f;
    if (!is_shared(address, size)) {
        shim_wrong("a product of thread %u is at byte %u of shared memory",
                   shim_lane_now()->number, address - SHARED_FROM, 0);
        return 0;
    }
    memcpy(&half, shared_at(address), sizeof half);
    if (kind != TF32) return kind == BF16 ? bf16_number(half) : f16_number(half);
    memcpy(&bits, shared_at(address), sizeof bits);
    bits &= 0xffffe000u;                           /* the last bits are not seen */
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void multiply(const struct product *p, float *sum)
{
    const unsigned lane = shim_lane_now()->number % 128, depth = p->kind == TF32 ? 8 : 16;
    const unsigned row = lane / 32 * 16 + lane % 32 / 4, col = lane % 4 * 2;
    float a[2][16], b[16];
    for (unsigned i = 0; i < 2 * depth; i++)
        a[i / depth][i % depth] = number_at(p->a, p->a_turned, row + i / depth * 8, i % depth,
                                            p->kind);
    for (int i = 0; !p->add && i < p->n / 2; i++) sum[i] = 0;
    for (unsigned c = 0; c < (unsigned)p->n / 4; c++) {
        for (unsigned k = 0; k < depth; k++)
            b[k] = number_at(p->b, p->b_turned, c / 2 * 8 + col + c % 2, k, p->kind);
        for (unsigned e = 0; e < 2; e++)
            for (unsigned k = 0; k < depth; k++) sum[c / 2 * 4 + e * 2 + c % 2] += a[e][k] * b[k];
    }
}

void group_multiply(float *d, unsigned long long a, unsigned long long b, int add, int kind, int n,
                    int a_turned, int b_turned)
{
    struct thread *t = me();
    const unsigned number = shim_lane_now()->number;
    const unsigned long long rest = ~(0x3fffull | 0x3fffull << 16 | 0x3fffull << 32);
    if (!t->is_fenced)
        shim_wrong("thread %u multiplies without a fence before it", number, 0, 0);
    if ((a & rest) != 1ull << 62 || (b & rest) != 1ull << 62 ||
        (kind == TF32 && (a_turned || b_turned)))
        shim_wrong("thread %u multiplies matrices that cannot lie so", number, 0, 0);
    if (t->nproducts == PRODUCTS || (t->nproducts && t->product[0].d != d)) {
        shim_wrong("thread %u has more than %u products under way, or other sums", number,
                   PRODUCTS, 0);
        return;
    }
    /* What is added to is known now, since others may not touch it any more. */
    if (!t->nproducts) memcpy(t->sum, d, (size_t)(n / 2) * sizeof *d);
    t->product[t->nproducts++] = (struct product){ d, a, b, add, kind, n, a_turned, b_turned,
                                                   t->group };
    for (int i = 0; i < n / 2; i++) d[i] = NAN;
}

void group_wait(int pending)
{
    struct thread *t = me();
    unsigned done = 0;
    t->is_fenced = 0;
    shim_meet_group();                /* others may go on before the products are done */
    for (; done < t->ended && t->product[done].group + (unsigned)pending < t->group; done++)
        multiply(&t->product[done], t->sum);
    /* Sums are there when the last product to them is. */
    if (done && done == t->nproducts)
        memcpy(t->product[0].d, t->sum, (size_t)(t->product[0].n / 2) * sizeof *t->sum);
    memmove(t->product, t->product + done, (t->nproducts - done) * sizeof *t->product);
    t->nproducts -= done;
    t->ended -= done;
    shim_meet_group();
}
