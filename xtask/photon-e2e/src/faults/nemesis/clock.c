/* A wall clock that is off by as many nanoseconds as the file says that PHOTON_CLOCK names, in which it notes behind
 * that what it told last, in nanoseconds since 1970; put before libc by the dynamic linker. It takes no lock and allocates nothing, because allocators tell the time as well. Waits until a time
 * of that clock go by it too, as they do by the kernel's: else a thread of RocksDB that waits for its turn to come
 * finds it still ahead, asks again without having waited, and takes a whole processor for as long as the clock is
 * behind. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static _Atomic(volatile int64_t *) file_ns;

/* Threads that come here together map the same file, which harms nobody. NULL: there is none. */
static volatile int64_t *file_of_clock(void) {
    volatile int64_t *mapped = file_ns;
    if (mapped == NULL) {
        const char *path = getenv("PHOTON_CLOCK");
        int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
        if (file < 0) return NULL;
        mapped = mmap(NULL, 2 * sizeof *mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (mapped == MAP_FAILED) return NULL;
        file_ns = mapped;
    }
    return mapped;
}

static int64_t offset(void) {
    volatile int64_t *mapped = file_of_clock();
    return mapped == NULL ? 0 : *mapped;
}

static void note(const struct timespec *told) {
    volatile int64_t *mapped = file_of_clock();
    if (mapped != NULL) mapped[1] = told->tv_sec * SECOND_NS + told->tv_nsec;
}

static struct timespec later(struct timespec when, int64_t by_ns) {
    int64_t ns = when.tv_nsec + by_ns % SECOND_NS;
    when.tv_sec += by_ns / SECOND_NS + (ns >= SECOND_NS) - (ns < 0);
    when.tv_nsec = (ns + SECOND_NS) % SECOND_NS;
    return when;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (syscall(SYS_clock_gettime, clock, now) != 0) return -1;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        *now = later(*now, offset());
        note(now);
    }
    return 0;
}

/* Where glibc notes which clock a condition goes by. */
static int is_monotonic(const pthread_cond_t *condition) { return (condition->__data.__wrefs & 2) != 0; }

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    if (is_monotonic(condition)) return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, until);
    struct timespec shifted = later(*until, -offset());
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &shifted);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return (time_t)-1;
    if (out != NULL) *out = now.tv_sec;
    return now.tv_sec;
}
