// Put before libc: while the file that FAIL_SYNC names exists, every sync fails, and leaves one byte in that file.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
    const char *path = getenv("FAIL_SYNC");
    int file = path ? open(path, O_WRONLY | O_APPEND) : -1;
    if (file < 0) {
        return 0;
    }
    ssize_t written = write(file, "x", 1);
    close(file);
    errno = EIO;
    return written == 1;
}

int fdatasync(int fd) {
    return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int fsync(int fd) {
    return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
