/* Reads a byte of each page of a file through mappings, in random order. After a first time, which brings all of it to
   memory, it prints a line and waits for one; then it does so TIMES times more, each in a fresh mapping.
   usage: touch-pages FILE PAGES TIMES */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static uint64_t touch(int fd, size_t pages)
{
    static uint64_t state = 1;
    uint64_t sum = 0;
    unsigned char *at = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    for (size_t touched = 0; touched < pages; touched++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += *(volatile unsigned char *)&at[(state >> 33) % pages * PAGE];
    }
    munmap(at, pages * PAGE);
    return sum;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: touch-pages FILE PAGES TIMES\n");
        return 2;
    }
    size_t pages = strtoul(argv[2], NULL, 10);
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0) {
        perror(argv[1]);
        return 1;
    }
    touch(fd, pages);
    puts("warm");
    fflush(stdout);
    getchar();
    for (long times = atol(argv[3]); times > 0; times--)
        touch(fd, pages);
    return 0;
}
