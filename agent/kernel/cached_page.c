/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/cached_page.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/kernel/sysfs_file.h"

#define STANDARD_MIN_BYTES 36 /* SPC-4 section 6.4.2: through PRODUCT REVISION LEVEL */
#define HEADER_BYTES       4
#define MAX_PAGES          256

/* Is it what was asked for? The kernel checks this itself; a file that only looks like one of it might not. */
static bool is_whole(int page, const uint8_t *bytes, size_t len)
{
    if (page == CACHED_PAGE_STANDARD)
        return len >= STANDARD_MIN_BYTES;
    return len >= HEADER_BYTES && bytes[1] == page;
}

int cached_page_read(const char *root, const struct observation_place *place, int page, uint8_t **out_bytes,
                     size_t *out_len)
{
    char name[16], path[SYSFS_FILE_PATH_BYTES], state[32];
    uint8_t *bytes;
    int n = sysfs_file_state(root, place, state, sizeof state);

    if (n < 0)
        return n;
    if (page == CACHED_PAGE_STANDARD)
        strcpy(name, "inquiry");
    else
        snprintf(name, sizeof name, "vpd_pg%x", (unsigned)page);
    bytes = malloc(CACHED_PAGE_MAX_BYTES);
    if (!bytes)
        return UV_ENOMEM;
    n = sysfs_file_read(root, sysfs_file_of_device(place, name, path), bytes, CACHED_PAGE_MAX_BYTES);
    if (n == UV_EINVAL || n == 0) /* the kernel's own words for a page that it could not get (show_vpd_##_page) */
        n = UV_ENOENT;
    else if (n > 0 && !is_whole(page, bytes, (size_t)n))
        n = UV_EPROTO;
    if (n < 0) {
        free(bytes);
        return n;
    }
    *out_bytes = bytes;
    *out_len = (size_t)n;
    return 0;
}

/* "vpd_pgb0" is B0h; -1 for other names. */
static int page_of(const char *name)
{
    static const char prefix[] = "vpd_pg", digits[] = "0123456789abcdef";
    const char *hex = name + strlen(prefix);
    int page = 0;

    if (strncmp(name, prefix, strlen(prefix)) != 0 || strlen(hex) < 1 || strlen(hex) > 2)
        return -1;
    for (; *hex; hex++) {
        const char *digit = strchr(digits, *hex);

        if (!digit)
            return -1;
        page = page * 16 + (int)(digit - digits);
    }
    return page;
}

const char *cached_page_list(const char *root, const struct observation_place *place, char buf[CACHED_PAGE_LIST_BYTES])
{
    char path[SYSFS_FILE_PATH_BYTES], whole[4096];
    bool has[MAX_PAGES] = {false};
    size_t used = 0;
    struct dirent *entry;
    DIR *folder;

    snprintf(whole, sizeof whole, "%s/%s", root, sysfs_file_of_device(place, "", path));
    folder = opendir(whole);
    while (folder && (entry = readdir(folder))) {
        int page = page_of(entry->d_name);

        if (page >= 0)
            has[page] = true;
    }
    if (folder)
        closedir(folder);
    for (unsigned page = 0; page < MAX_PAGES && used < CACHED_PAGE_LIST_BYTES - 8; page++)
        if (has[page])
            used += (size_t)snprintf(buf + used, CACHED_PAGE_LIST_BYTES - used, "%s%02Xh", used ? ", " : "", page);
    if (used == 0)
        strcpy(buf, "none");
    return buf;
}
