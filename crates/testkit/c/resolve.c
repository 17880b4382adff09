/* Preloaded into a client that takes no hosts file: names under .gateway.test lead to this machine. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

typedef int (*look_up)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    static const char domain[] = ".gateway.test";
    look_up real = (look_up)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = node ? strlen(node) : 0;
    size_t tail = sizeof domain - 1;
    if (length > tail && strcmp(node + length - tail, domain) == 0)
        node = "127.0.0.1";
    return real(node, service, hints, result);
}
