/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target once over each file of the directories given, in the order of their names: the corpus as an
 * ordinary test, for builds without libFuzzer. Fails when there is no file. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In a block of the file's own size, so that a read beyond it is caught. */
static uint8_t *read_file(const char *path, size_t *out_size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        data = size >= 0 ? malloc(size ? (size_t)size : 1) : NULL;
        *out_size = (size_t)size;
        if (data && fread(data, 1, (size_t)size, file) != (size_t)size) {
            free(data);
            data = NULL;
        }
    }
    if (file)
        fclose(file);
    return data;
}

static int run_directory(const char *directory)
{
    struct dirent **names;
    int n = scandir(directory, &names, is_input, alphasort), failed = 0;
    if (n < 0) {
        perror(directory);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        size_t size;
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
        uint8_t *data = read_file(path, &size);
        if (data) {
            LLVMFuzzerTestOneInput(data, size);
        } else {
            perror(path);
            failed = 1;
        }
        free(data);
        free(names[i]);
    }
    free(names);
    return failed ? -1 : n;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int n = run_directory(argv[i]);
        if (n < 0)
            return 1;
        total += n;
    }
    if (total == 0) {
        fprintf(stderr, "run_corpus: no input\n");
        return 1;
    }
    printf("%d inputs\n", total);
    return 0;
}
