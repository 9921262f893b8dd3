/* What was compiled before: shared objects in the user's cache directory, named by a hash of all
 * that went into them.  At the end of each stand its key and a checksum, which the linker does not
 * look at: an entry that was cut short, changed or put there under another name is a miss. */
#include "kernels/jit.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The last bytes of an entry. */
struct trailer {
    char magic[8];
    uint64_t key[2], sum[2];     /* sum: of what stands before, the key and the time */
    double compile_ms;
};

static const char magic[8] = "hone jit";

/* ---- hashing ---- */

void hone_jit_hash(uint64_t h[2], const void *data, size_t n)
{
    const char *s = data;
    uint64_t word, length = n;
    for (; n; s += sizeof word) {
        size_t take = n < sizeof word ? n : sizeof word;
        word = 0;
        memcpy(&word, s, take);
        h[0] = hone_random(h[0] ^ word, 0);
        h[1] = hone_random(h[1] + word, 1);
        n -= take;
    }
    h[0] = hone_random(h[0] ^ length, 2);
    h[1] = hone_random(h[1] + length, 3);
}

static void sum_of(const char *data, size_t n, const struct trailer *t, uint64_t sum[2])
{
    sum[0] = sum[1] = 0;
    hone_jit_hash(sum, data, n);
    hone_jit_hash(sum, t->key, sizeof t->key);
    hone_jit_hash(sum, &t->compile_ms, sizeof t->compile_ms);
}

/* ---- the directory ---- */

static int private_directory(const char *path)
{
    char dir[HONE_JIT_PATH];
    struct stat st;
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = 0;
    if (stat(dir, &st)) return hone_fail(HONE_EIO, "%s: %s", dir, strerror(errno));
    if (st.st_uid != geteuid())
        return hone_fail(HONE_EIO, "%s: belongs to another user: set XDG_CACHE_HOME", dir);
    if (st.st_mode & 077 && chmod(dir, 0700))
        return hone_fail(HONE_EIO, "%s: cannot make it private: %s", dir, strerror(errno));
    return HONE_OK;
}

static int path_of(struct hone_jit_entry *e)
{
    char name[64];
    snprintf(name, sizeof name, "jit/%016llx%016llx.so", (unsigned long long)e->key[0],
             (unsigned long long)e->key[1]);
    int err = hone_user_path("cache", name, e->path, sizeof e->path);
    return err ? err : private_directory(e->path);
}

/* ---- entries ---- */

/* Bytes of machine code: the segments that may be executed. */
static int64_t code_bytes(const char *file, size_t n)
{
    const ElfW(Ehdr) *head = (const void *)file;
    int64_t bytes = 0;
    if (n < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) ||
        head->e_phoff + head->e_phnum * sizeof(ElfW(Phdr)) > n)
        return 0;
    const ElfW(Phdr) *segment = (const void *)(file + head->e_phoff);
    for (int i = 0; i < head->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && segment[i].p_flags & PF_X)
            bytes += (int64_t)segment[i].p_filesz;
    return bytes;
}

/* Reads a file that is ours alone; NULL: there is none. */
static char *read_own(const char *path, size_t *size)
{
    struct stat st;
    char *data = NULL;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return NULL;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        !(st.st_mode & 022) && (data = malloc((size_t)st.st_size + 1))) {
        size_t got = 0;
        ssize_t n;
        while (got < (size_t)st.st_size &&
               (n = read(fd, data + got, (size_t)st.st_size - got)) > 0)
            got += (size_t)n;
        *size = got;
    }
    close(fd);
    return data;
}

int hone_jit_find(struct hone_jit_entry *e)
{
    struct trailer t;
    uint64_t sum[2];
    size_t size;
    int err = path_of(e), good = 0;
    if (err) return err;
    char *data = read_own(e->path, &size);
    if (data && size > sizeof t) {
        size -= sizeof t;
        memcpy(&t, data + size, sizeof t);
        sum_of(data, size, &t, sum);
        good = !memcmp(t.magic, magic, sizeof magic) && !memcmp(t.key, e->key, sizeof t.key) &&
               !memcmp(t.sum, sum, sizeof sum);
        e->compile_ms = t.compile_ms;
        e->code_bytes = code_bytes(data, size);
    }
    free(data);
    return good;
}

char *hone_jit_read(const struct hone_jit_entry *e, size_t *size)
{
    return read_own(e->path, size);
}

int hone_jit_keep(struct hone_jit_entry *e, const char *path)
{
    struct trailer t = { .key = { e->key[0], e->key[1] }, .compile_ms = e->compile_ms };
    size_t size;
    char *data = read_own(path, &size);
    if (!data) return hone_fail(HONE_EIO, "%s: cannot read what was compiled", path);
    memcpy(t.magic, magic, sizeof magic);
    sum_of(data, size, &t, t.sum);
    e->code_bytes = code_bytes(data, size);
    free(data);
    FILE *f = fopen(path, "ab");
    errno = 0;
    int bad = !f || fwrite(&t, sizeof t, 1, f) != 1;
    if (f) bad |= fclose(f) != 0;
    if (bad || chmod(path, 0700) || rename(path, e->path))
        return hone_fail(HONE_EIO, "%s: cannot keep it: %s", e->path, strerror(errno));
    return HONE_OK;
}
