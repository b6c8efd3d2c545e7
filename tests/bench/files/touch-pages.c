/* Reads a byte of each page of a mapping, in random order, in fresh mappings of a file.
   usage: touch-pages FILE PAGES TIMES */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: touch-pages FILE PAGES TIMES\n");
        return 2;
    }
    size_t pages = strtoul(argv[2], NULL, 10), page = 4096;
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0) {
        perror(argv[1]);
        return 1;
    }
    uint64_t state = 1, sum = 0;
    for (long times = atol(argv[3]); times > 0; times--) {
        const volatile unsigned char *at = mmap(NULL, pages * page, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) {
            perror("mmap");
            return 1;
        }
        for (size_t touched = 0; touched < pages; touched++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += at[(state >> 33) % pages * page];
        }
        munmap((void *)at, pages * page);
    }
    return sum == 1;
}
