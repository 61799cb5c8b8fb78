/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/tls.h"

enum { BACKLOG = 511, SOCKET_MODE = 0660 };

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *l = (struct listener *)handle;
    if (l->on_closed)
        l->on_closed(l);
    tls_context_unref(l->tls);
    free(l);
}

void listener_close(struct listener *l, void (*on_closed)(struct listener *l))
{
    l->on_closed = on_closed;
    uv_close(&l->u.handle, on_handle_closed);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = (struct listener *)stream;
    /* An error is of one connection that went away before it was accepted. */
    if (status == 0)
        l->on_connection(l);
}

static struct listener *new_listener(uv_loop_t *loop, enum address_kind kind)
{
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->kind = kind;
    int rc = kind == ADDRESS_TCP ? uv_tcp_init(loop, &l->u.tcp) : uv_pipe_init(loop, &l->u.pipe, 0);
    if (rc == 0)
        return l;
    free(l);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ Unix sockets */

/* The file of a process that is gone: a socket that refuses. */
static bool is_stale_socket(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    bool refused = connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_unix(struct listener *l, const char *path)
{
    int rc = uv_pipe_bind(&l->u.pipe, path);
    if (rc == UV_EADDRINUSE && is_stale_socket(path)) {
        if (unlink(path) != 0)
            return uv_translate_sys_error(errno);
        rc = uv_pipe_bind(&l->u.pipe, path);
    }
    if (rc == 0 && chmod(path, SOCKET_MODE) != 0)
        rc = uv_translate_sys_error(errno);
    return rc;
}

static int open_unix(uv_loop_t *loop, const struct address *a, struct listener **out_listener, char *err,
                     size_t err_len)
{
    struct listener *l = new_listener(loop, ADDRESS_UNIX);
    if (!l)
        return UV_ENOMEM;
    int rc = bind_unix(l, a->path);
    if (rc == 0)
        rc = uv_listen(&l->u.stream, BACKLOG, on_connection);
    if (rc != 0) {
        snprintf(err, err_len, "cannot listen on unix:%s: %s", a->path, uv_strerror(rc));
        listener_close(l, NULL);
        return rc;
    }
    snprintf(l->address, sizeof l->address, "unix:%s", a->path);
    *out_listener = l;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ TCP */

static void set_port(struct sockaddr *sa, in_port_t port)
{
    if (sa->sa_family == AF_INET)
        ((struct sockaddr_in *)sa)->sin_port = port;
    else
        ((struct sockaddr_in6 *)sa)->sin6_port = port;
}

static in_port_t get_port(const struct sockaddr *sa)
{
    return sa->sa_family == AF_INET ? ((const struct sockaddr_in *)sa)->sin_port
                                    : ((const struct sockaddr_in6 *)sa)->sin6_port;
}

/* On success `sa` holds the port that was picked. */
static int open_tcp(uv_loop_t *loop, struct sockaddr *sa, struct listener **out_listener, char *err, size_t err_len)
{
    char text[ADDRESS_TEXT_MAX];
    struct sockaddr_storage bound;
    int len = sizeof bound;
    struct listener *l = new_listener(loop, ADDRESS_TCP);
    if (!l)
        return UV_ENOMEM;
    int rc = uv_tcp_bind(&l->u.tcp, sa, 0);
    if (rc == 0)
        rc = uv_listen(&l->u.stream, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&l->u.tcp, (struct sockaddr *)&bound, &len);
    if (rc != 0) {
        address_format(sa, text, sizeof text);
        snprintf(err, err_len, "cannot listen on %s: %s", text, uv_strerror(rc));
        listener_close(l, NULL);
        return rc;
    }
    address_format((struct sockaddr *)&bound, l->address, sizeof l->address);
    set_port(sa, get_port((struct sockaddr *)&bound));
    *out_listener = l;
    return 0;
}

static bool came_before(const struct addrinfo *first, const struct addrinfo *info)
{
    for (const struct addrinfo *i = first; i != info; i = i->ai_next) {
        if (i->ai_addrlen == info->ai_addrlen && memcmp(i->ai_addr, info->ai_addr, i->ai_addrlen) == 0)
            return true;
    }
    return false;
}

static int refuse_plaintext(const struct addrinfo *first, char *err, size_t err_len)
{
    char text[ADDRESS_TEXT_MAX];
    for (const struct addrinfo *i = first; i; i = i->ai_next) {
        if (address_is_loopback(i->ai_addr))
            continue;
        address_format(i->ai_addr, text, sizeof text);
        snprintf(err, err_len,
                 "%s can be reached from other machines and the connection is not encrypted: listen on loopback or a "
                 "Unix socket, or give --insecure",
                 text);
        return UV_EACCES;
    }
    return 0;
}

/* An address of a name that this machine does not have (IPv6 switched off) is passed over if another one works. */
static bool can_do_without(int rc, bool same_port_wanted)
{
    return rc == UV_EADDRNOTAVAIL || rc == UV_EAFNOSUPPORT || (rc == UV_EADDRINUSE && same_port_wanted);
}

static int open_addresses(uv_loop_t *loop, struct addrinfo *first, struct listener **out_list, char *err,
                          size_t err_len)
{
    struct listener **end = out_list;
    bool any_port = get_port(first->ai_addr) == 0;
    in_port_t port = get_port(first->ai_addr);
    int rc = 0;
    for (struct addrinfo *i = first; i; i = i->ai_next) {
        if (came_before(first, i))
            continue;
        set_port(i->ai_addr, port);
        rc = open_tcp(loop, i->ai_addr, end, err, err_len);
        if (rc == 0) {
            port = get_port(i->ai_addr);
            end = &(*end)->next;
        } else if (!can_do_without(rc, any_port && port != 0)) {
            break;
        }
    }
    if (rc == 0 || (*out_list && can_do_without(rc, any_port)))
        return 0;
    while (*out_list) {
        struct listener *l = *out_list;
        *out_list = l->next;
        listener_close(l, NULL);
    }
    return rc;
}

/* Every address of a name, in `req`; refused as a whole when one of them is not for plaintext. */
static int resolve(uv_loop_t *loop, uv_getaddrinfo_t *req, const char *text, const struct address *a,
                   const struct grpc_listen_options *options, char *err, size_t err_len)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int rc = uv_getaddrinfo(loop, req, NULL, a->host, a->port, &hints);
    if (rc != 0) {
        snprintf(err, err_len, "cannot resolve '%s': %s", text, uv_strerror(rc));
        return rc;
    }
    if (!options->insecure && !options->tls)
        rc = refuse_plaintext(req->addrinfo, err, err_len);
    if (rc != 0)
        uv_freeaddrinfo(req->addrinfo);
    return rc;
}

static int open_names(uv_loop_t *loop, const char *text, const struct address *a,
                      const struct grpc_listen_options *options, struct listener **out_list, char *err, size_t err_len)
{
    uv_getaddrinfo_t req;
    int rc = resolve(loop, &req, text, a, options, err, err_len);
    if (rc != 0)
        return rc;
    rc = open_addresses(loop, req.addrinfo, out_list, err, err_len);
    uv_freeaddrinfo(req.addrinfo);
    return rc;
}

static int parse(const char *text, const struct grpc_listen_options *options, struct address *out, char *err,
                 size_t err_len)
{
    int rc = address_parse(text, out, err, err_len);
    if (rc == 0 && out->kind == ADDRESS_UNIX && options->tls) {
        snprintf(err, err_len, "%.200s: a Unix socket proves who connects by itself, without TLS", text);
        return UV_EINVAL;
    }
    return rc;
}

int listener_check(const char *text, const struct grpc_listen_options *options, char *err, size_t err_len)
{
    struct address a;
    uv_loop_t loop;
    uv_getaddrinfo_t req;
    int rc = parse(text, options, &a, err, err_len);
    if (rc != 0 || a.kind == ADDRESS_UNIX)
        return rc;
    if ((rc = uv_loop_init(&loop)) != 0) {
        snprintf(err, err_len, "cannot check %.200s: %s", text, uv_strerror(rc));
        return rc;
    }
    rc = resolve(&loop, &req, text, &a, options, err, err_len);
    if (rc == 0)
        uv_freeaddrinfo(req.addrinfo);
    uv_loop_close(&loop);
    return rc;
}

int listener_open(uv_loop_t *loop, const char *text, const struct grpc_listen_options *options,
                  void (*cb)(struct listener *l), void *owner, struct listener **list, char *err, size_t err_len)
{
    struct address a;
    struct listener *opened = NULL;
    int rc = parse(text, options, &a, err, err_len);
    if (rc != 0)
        return rc;
    snprintf(err, err_len, "cannot listen on %.200s: out of memory", text);
    rc = a.kind == ADDRESS_UNIX ? open_unix(loop, &a, &opened, err, err_len)
                                : open_names(loop, text, &a, options, &opened, err, err_len);
    if (rc != 0)
        return rc;
    for (struct listener *l = opened; l; l = l->next) {
        l->on_connection = cb;
        l->owner = owner;
        l->tls = tls_context_ref(options->tls);
    }
    while (*list)
        list = &(*list)->next;
    *list = opened;
    return 0;
}
