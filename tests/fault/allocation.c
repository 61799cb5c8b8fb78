/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out in a running program, by chance or at one allocation, and comes back.
 *
 * Linked into a program, these functions take the place of libc's, also for the libraries. SENSEBUS_ALLOCATIONS names a
 * file that both sides map (allocations.py): the test says in it what fails, the program counts. Without it, or while
 * `armed` is 0, nothing fails.
 *
 * Not failed is what can have no answer: what libuv asks for with realloc (one such place, the table of descriptors
 * that grows with the largest one, ends the process) and what the dynamic linker asks for (the start of a thread, of
 * which libuv's pool takes no failure); under a sanitizer also what libc asks for itself (the sanitizer's part in that
 * start).
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#ifdef ALLOCATOR_OF_SANITIZER /* this file itself is compiled without: it is called before one is ready */
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *memory, size_t size);

/* What both sides see; allocations.py knows the order. */
struct control {
    _Atomic uint64_t armed;   /* 1: count, and fail what is said below */
    _Atomic uint64_t counted; /* since it was armed */
    _Atomic uint64_t fail_at; /* the one that fails; 0: none */
    _Atomic uint64_t one_in;  /* by chance one of so many fails; 0: none */
    _Atomic uint64_t seed;    /* of that chance */
    _Atomic uint64_t failed;  /* how many did */
    _Atomic uint64_t trace;   /* 1: say on standard error where */
};

static struct control *control;

static struct range {
    uintptr_t first, end;
} never_failed[2];

/* The place in memory of an object whose callers never fail. */
static int note_object(struct dl_phdr_info *object, size_t size, void *data)
{
    struct range *range = object->dlpi_addr == getauxval(AT_BASE) ? &never_failed[0] : &never_failed[1];
    struct range here = {.first = object->dlpi_addr, .end = object->dlpi_addr};
    uintptr_t in_libc = (uintptr_t)getpid;
    (void)size;
    (void)data;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        uintptr_t end = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr + object->dlpi_phdr[i].p_memsz;
        if (object->dlpi_phdr[i].p_type == PT_LOAD && end > here.end)
            here.end = end;
    }
#ifdef ALLOCATOR_OF_SANITIZER
    bool is_libc = in_libc >= here.first && in_libc < here.end;
#else
    bool is_libc = false;
    (void)in_libc;
#endif
    if (range == &never_failed[0] || is_libc)
        *range = here;
    return 0;
}

static bool is_never_failed(const void *caller)
{
    for (size_t i = 0; i < sizeof never_failed / sizeof *never_failed; i++)
        if ((uintptr_t)caller >= never_failed[i].first && (uintptr_t)caller < never_failed[i].end)
            return true;
    return false;
}

static void *never_fails(void *memory, size_t size)
{
    return REAL(realloc)(memory, size);
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("SENSEBUS_ALLOCATIONS");
    void *frames[1];
    if (!path)
        return;
    backtrace(frames, 1); /* loads what it needs now */
    dl_iterate_phdr(note_object, NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        abort();
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        abort();
    close(fd);
    uv_replace_allocator(malloc, never_fails, calloc, free);
    control = mapped;
}

/* The same for the n-th allocation of each run with that seed: splitmix64. */
static uint64_t mixed(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + n * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool fails_now(const void *caller)
{
    if (!control || !control->armed || is_never_failed(caller))
        return false;
    uint64_t n = ++control->counted, one_in = control->one_in;
    if (n != control->fail_at && !(one_in > 0 && mixed(control->seed, n) % one_in == 0))
        return false;
    control->failed++;
    if (control->trace) {
        void *frames[24];
        char line[64];
        int len = snprintf(line, sizeof line, "allocation %llu fails\n", (unsigned long long)n);
        if (write(STDERR_FILENO, line, (size_t)len) == len)
            backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails_now(__builtin_return_address(0)) ? NULL : REAL(malloc)(size);
}

void *calloc(size_t n, size_t size)
{
    return fails_now(__builtin_return_address(0)) ? NULL : REAL(calloc)(n, size);
}

void *realloc(void *memory, size_t size)
{
    return fails_now(__builtin_return_address(0)) ? NULL : REAL(realloc)(memory, size);
}

/* Sanitizers allocate by themselves in these. */
char *strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

char *strdup(const char *text)
{
    return strndup(text, PTRDIFF_MAX - 1);
}
