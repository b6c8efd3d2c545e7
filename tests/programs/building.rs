//! Compilers and make.

use crate::row::Row;
use crate::sheet::check;

const SOURCES: &str = "cat >main.c <<'EOT'
#include <stdio.h>
const char *word(void);
int main(void) { puts(word()); return 0; }
EOT
echo 'const char *word(void) { return \"one\"; }' >word.c";

const GCC: Row = Row::new(
    "`gcc`",
    &["gcc"],
    "gcc -c word.c; gcc -o program main.c word.o; echo 'const char *word(void) { return \"two\"; }' >word.c; \
     gcc -c word.c; gcc -o program main.c word.o; ar rcs libword.a word.o; ar rcs libword.a word.o",
)
.by_owner(SOURCES)
.look("./program; ar t libword.a");

const MAKE: Row = Row::new("`make`, over what another built", &["make", "gcc"], "touch word.c; make -s; make -s")
    .by_owner(concat!(
        "cat >main.c <<'EOT'\n#include <stdio.h>\nconst char *word(void);\nint main(void) { puts(word()); return 0; }\nEOT\n",
        "echo 'const char *word(void) { return \"one\"; }' >word.c; printf 'program: main.o word.o\\n\\tcc -o $@ $^\\n",
        "libword.a: word.o\\n\\tar rcs $@ $^\\nall: program libword.a\\n.DEFAULT_GOAL := all\\n' >Makefile; make -s; ",
        "echo 'const char *word(void) { return \"two\"; }' >word.c; touch -d tomorrow word.c"
    ))
    .look("./program; ar t libword.a");

pub fn rows() -> Vec<Row> {
    vec![GCC, MAKE]
}

#[test]
fn compilers_build_as_the_table_says() {
    check(&rows());
}
