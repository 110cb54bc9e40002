// Preloaded, it lets the n-th call to the system for a file below a folder fail, or kills the process there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL = -1 };

static char root[PATH_MAX];
static int calls, failing, number, staying;

// From now on calls below `folder` are counted; the one numbered `at` fails with `error`, and if `stays` all after it.
void faults_arm(const char *folder, int at, int error, int stays) {
    strncpy(root, folder, sizeof root - 1);
    calls = 0, failing = at, number = error, staying = stays;
}

int faults_count(void) { return calls; }

static int is_below(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (!path[length] || path[length] == '/');
}

static void path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

static int fails(const char *path) {
    if (!is_below(path)) return 0;
    int call = __sync_add_and_fetch(&calls, 1);
    if (!failing || (call != failing && !(staying && call > failing))) return 0;
    if (number == KILL) kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

static int fails_at(int folder, const char *path) {
    char whole[2 * PATH_MAX];
    if (!root[0]) return 0;
    if (folder == AT_FDCWD || path[0] == '/') return fails(path);
    path_of(folder, whole);
    strcat(whole, "/");
    strncat(whole, path, PATH_MAX - 1);
    return fails(whole);
}

static int fails_on(int descriptor) {
    char path[PATH_MAX];
    if (!root[0]) return 0;
    path_of(descriptor, path);
    return fails(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...) {                    \
        va_list list;                                               \
        va_start(list, flags);                                      \
        mode_t mode = va_arg(list, mode_t);                         \
        va_end(list);                                               \
        return fails(path) ? -1 : REAL(name)(path, flags, mode);    \
    }
#define OPENAT(name)                                                                   \
    int name(int folder, const char *path, int flags, ...) {                           \
        va_list list;                                                                  \
        va_start(list, flags);                                                         \
        mode_t mode = va_arg(list, mode_t);                                            \
        va_end(list);                                                                  \
        return fails_at(folder, path) ? -1 : REAL(name)(folder, path, flags, mode);    \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) { return fails_on(file) ? -1 : REAL(write)(file, data, size); }
ssize_t writev(int file, const struct iovec *data, int count) {
    return fails_on(file) ? -1 : REAL(writev)(file, data, count);
}
int fsync(int file) { return fails_on(file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails_on(file) ? -1 : REAL(fdatasync)(file); }
int ftruncate64(int file, off64_t size) { return fails_on(file) ? -1 : REAL(ftruncate64)(file, size); }
int rename(const char *from, const char *to) { return fails(to) ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    return fails_at(b, to) ? -1 : REAL(renameat)(a, from, b, to);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return fails_at(b, to) ? -1 : REAL(renameat2)(a, from, b, to, flags);
}
int unlink(const char *path) { return fails(path) ? -1 : REAL(unlink)(path); }
int unlinkat(int folder, const char *path, int flags) {
    return fails_at(folder, path) ? -1 : REAL(unlinkat)(folder, path, flags);
}
int mkdir(const char *path, mode_t mode) { return fails(path) ? -1 : REAL(mkdir)(path, mode); }
int rmdir(const char *path) { return fails(path) ? -1 : REAL(rmdir)(path); }
int symlink(const char *target, const char *path) { return fails(path) ? -1 : REAL(symlink)(target, path); }
