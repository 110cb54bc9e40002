// Preloaded, it lets the n-th call to the system for a file below a folder fail, or kills the process there; and writes
// down in which order files are written, flushed and renamed.
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

enum { KILL = -1, ROOM = 1 << 22 };

static char root[PATH_MAX], notes[ROOM];
static int calls, failing, number, staying, noted;

// From now on calls below `folder` are counted; the one numbered `at` fails with `error`, and if `stays` all after it.
void faults_arm(const char *folder, int at, int error, int stays) {
    strncpy(root, folder, sizeof root - 1);
    calls = 0, failing = at, number = error, staying = stays, noted = 0;
    memset(notes, 0, ROOM);
}

int faults_count(void) { return calls; }

// A line for each call below the folder, in order: its name, its path, and the former path of what is renamed, or the
// number of the file that is written or flushed, which a renaming that is not seen leaves as it is.
const char *faults_notes(void) { return notes; }

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

static void note(const char *name, const char *path, const char *more) {
    char line[3 * PATH_MAX];
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", name, path, more);
    int at = __sync_fetch_and_add(&noted, length);
    if (at + length < ROOM) memcpy(notes + at, line, length);
}

static int fails_with(const char *name, const char *path, const char *more) {
    if (!is_below(path)) return 0;
    note(name, path, more);
    int call = __sync_add_and_fetch(&calls, 1);
    if (!failing || (call != failing && !(staying && call > failing))) return 0;
    if (number == KILL) kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

static int fails(const char *name, const char *path) { return fails_with(name, path, ""); }

static const char *whole(int folder, const char *path, char *room) {
    if (!root[0] || folder == AT_FDCWD || path[0] == '/') return path;
    path_of(folder, room);
    strcat(room, "/");
    return strncat(room, path, PATH_MAX - 1);
}

static int fails_at(const char *name, int folder, const char *path) {
    char room[2 * PATH_MAX];
    return fails(name, whole(folder, path, room));
}

static int fails_on(const char *name, int descriptor) {
    char path[PATH_MAX], file[32];
    struct stat status;
    if (!root[0] || fstat(descriptor, &status)) return 0;
    path_of(descriptor, path);
    snprintf(file, sizeof file, "%llu", (unsigned long long)status.st_ino);
    return fails_with(name, path, file);
}

static int fails_to_rename(int a, const char *from, int b, const char *to) {
    char one[2 * PATH_MAX], two[2 * PATH_MAX];
    return fails_with("rename", whole(b, to, two), whole(a, from, one));
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define NAME_OF(flags) ((flags) & O_CREAT ? "create" : "open")
#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...) {                    \
        va_list list;                                               \
        va_start(list, flags);                                      \
        mode_t mode = va_arg(list, mode_t);                         \
        va_end(list);                                               \
        return fails(NAME_OF(flags), path) ? -1 : REAL(name)(path, flags, mode);    \
    }
#define OPENAT(name)                                                                   \
    int name(int folder, const char *path, int flags, ...) {                           \
        va_list list;                                                                  \
        va_start(list, flags);                                                         \
        mode_t mode = va_arg(list, mode_t);                                            \
        va_end(list);                                                                  \
        return fails_at(NAME_OF(flags), folder, path) ? -1 : REAL(name)(folder, path, flags, mode);    \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    return fails_on("write", file) ? -1 : REAL(write)(file, data, size);
}
ssize_t writev(int file, const struct iovec *data, int count) {
    return fails_on("write", file) ? -1 : REAL(writev)(file, data, count);
}
int ftruncate64(int file, off64_t size) { return fails_on("write", file) ? -1 : REAL(ftruncate64)(file, size); }
int fsync(int file) { return fails_on("flush", file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails_on("flush", file) ? -1 : REAL(fdatasync)(file); }
int rename(const char *from, const char *to) {
    return fails_to_rename(AT_FDCWD, from, AT_FDCWD, to) ? -1 : REAL(rename)(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    return fails_to_rename(a, from, b, to) ? -1 : REAL(renameat)(a, from, b, to);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return fails_to_rename(a, from, b, to) ? -1 : REAL(renameat2)(a, from, b, to, flags);
}
int unlink(const char *path) { return fails("remove", path) ? -1 : REAL(unlink)(path); }
int unlinkat(int folder, const char *path, int flags) {
    return fails_at("remove", folder, path) ? -1 : REAL(unlinkat)(folder, path, flags);
}
int mkdir(const char *path, mode_t mode) { return fails("create", path) ? -1 : REAL(mkdir)(path, mode); }
int rmdir(const char *path) { return fails("remove", path) ? -1 : REAL(rmdir)(path); }
int symlink(const char *target, const char *path) {
    return fails("create", path) ? -1 : REAL(symlink)(target, path);
}
