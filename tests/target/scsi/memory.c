/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/scsi/memory.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct page {
    uint64_t number;
    uint8_t bytes[MEMORY_PAGE_BYTES];
};

void memory_init(struct memory *m, struct memory_budget *budget)
{
    *m = (struct memory){.budget = budget};
}

void memory_deinit(struct memory *m)
{
    if (m->budget)
        m->budget->left_bytes += m->pages.n * MEMORY_PAGE_BYTES;
    for (size_t i = 0; i < m->pages.n_slots; i++)
        if (m->pages.slots[i].key)
            free(m->pages.slots[i].item);
    table_deinit(&m->pages);
}

static struct page *page_at(const struct memory *m, uint64_t offset)
{
    uint64_t number = offset / MEMORY_PAGE_BYTES;

    return m->pages.n ? table_get(&m->pages, &number, sizeof(number)) : NULL;
}

/* How many of `len` bytes lie in the page of `offset`. */
static size_t in_page(uint64_t offset, uint64_t len)
{
    size_t left = MEMORY_PAGE_BYTES - (size_t)(offset % MEMORY_PAGE_BYTES);

    return len < left ? (size_t)len : left;
}

void memory_read(const struct memory *m, uint64_t offset, uint8_t *out, size_t len)
{
    for (size_t n; len > 0; offset += n, out += n, len -= n) {
        const struct page *page = page_at(m, offset);

        n = in_page(offset, len);
        if (page)
            memcpy(out, page->bytes + offset % MEMORY_PAGE_BYTES, n);
        else
            memset(out, 0, n);
    }
}

static int page_add(struct memory *m, uint64_t offset, struct page **out_page)
{
    struct page *page;
    int rc;

    if (m->budget->left_bytes < MEMORY_PAGE_BYTES)
        return UV_ENOSPC;
    page = calloc(1, sizeof(*page));
    if (!page)
        return UV_ENOMEM;
    page->number = offset / MEMORY_PAGE_BYTES;
    rc = table_add(&m->pages, &page->number, sizeof(page->number), page);
    if (rc < 0) {
        free(page);
        return rc;
    }
    m->budget->left_bytes -= MEMORY_PAGE_BYTES;
    *out_page = page;
    return 0;
}

int memory_write(struct memory *m, uint64_t offset, const uint8_t *bytes, size_t len)
{
    for (size_t n; len > 0; offset += n, bytes += n, len -= n) {
        struct page *page = page_at(m, offset);
        int rc = page ? 0 : page_add(m, offset, &page);

        if (rc < 0)
            return rc;
        n = in_page(offset, len);
        memcpy(page->bytes + offset % MEMORY_PAGE_BYTES, bytes, n);
    }
    return 0;
}

static void page_remove(struct memory *m, struct page *page)
{
    table_remove(&m->pages, &page->number, sizeof(page->number));
    free(page);
    m->budget->left_bytes += MEMORY_PAGE_BYTES;
}

void memory_discard(struct memory *m, uint64_t offset, uint64_t len)
{
    for (size_t n; len > 0; offset += n, len -= n) {
        struct page *page = page_at(m, offset);

        n = in_page(offset, len);
        if (page && n == MEMORY_PAGE_BYTES)
            page_remove(m, page);
        else if (page)
            memset(page->bytes + offset % MEMORY_PAGE_BYTES, 0, n);
    }
}

uint64_t memory_used_bytes(const struct memory *m)
{
    return (uint64_t)m->pages.n * MEMORY_PAGE_BYTES;
}
