/* A process's writes, syncs and name changes under $JOURNAL_FOLDER in; a journal of them, in order, at $JOURNAL out.
 *
 * Preloaded (LD_PRELOAD). One record: u8 kind, u8 0, u16 length of path, u32 length of data, u64 offset, path, data; little-endian.
 * Kinds: w write, t truncate, s sync, u unlink, r rename (data = new path). Shared memory (-shm) is no durable state and left out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int journal = -1;
static const char *folder;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("JOURNAL");
    folder = getenv("JOURNAL_FOLDER");
    if (path && folder)
        journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int ours(const char *path) {
    size_t n = strlen(path);
    return journal >= 0 && !strncmp(path, folder, strlen(folder)) && !(n > 4 && !strcmp(path + n - 4, "-shm"));
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint32_t length) {
    struct __attribute__((packed)) { uint8_t kind, zero; uint16_t path; uint32_t data; uint64_t offset; } head =
        {(uint8_t)kind, 0, (uint16_t)strlen(path), length, offset};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)data, length}};
    int kept = errno;
    syscall(SYS_writev, journal, parts, length ? 3 : 2);
    errno = kept;
}

static int path_of(int fd, char *path, size_t room) {
    char link[32];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, room - 1);
    errno = kept;
    if (n <= 0) return 0;
    path[n] = 0;
    return ours(path);
}

static void noted(char kind, int fd, uint64_t offset, const void *data, ssize_t length) {
    char path[4096];
    if (length >= 0 && path_of(fd, path, sizeof path)) note(kind, path, offset, data, (uint32_t)length);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset) {
    ssize_t done = syscall(SYS_pwrite64, fd, data, n, offset);
    if (done > 0) noted('w', fd, (uint64_t)offset, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t offset) { return pwrite64(fd, data, n, offset); }

ssize_t write(int fd, const void *data, size_t n) {
    off_t at = fd == journal ? -1 : lseek(fd, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, n);
    if (done > 0 && at >= 0) noted('w', fd, (uint64_t)at, data, done);
    return done;
}

int fsync(int fd) {
    int done = (int)syscall(SYS_fsync, fd);
    noted('s', fd, 0, "", done);
    return done;
}
int fdatasync(int fd) {
    int done = (int)syscall(SYS_fdatasync, fd);
    noted('s', fd, 0, "", done);
    return done;
}

int ftruncate64(int fd, off64_t size) {
    int done = (int)syscall(SYS_ftruncate, fd, size);
    noted('t', fd, (uint64_t)size, "", done);
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int full(const char *name, char *path, size_t room) {
    if (name[0] == '/') return snprintf(path, room, "%s", name) < (int)room && ours(path);
    if (!getcwd(path, room)) return 0;
    size_t n = strlen(path);
    return snprintf(path + n, room - n, "/%s", name) < (int)(room - n) && ours(path);
}

int unlink(const char *name) {
    char path[4096];
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    if (!done && full(name, path, sizeof path)) note('u', path, 0, "", 0);
    return done;
}

int rename(const char *from, const char *to) {
    char path[4096], target[4096];
    int done = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (!done && full(from, path, sizeof path) && full(to, target, sizeof target))
        note('r', path, 0, target, (uint32_t)strlen(target));
    return done;
}
