/* Preprocessor helpers: token pasting, unique names, an empty statement. */
#ifndef DMTR_META_H
#define DMTR_META_H

#define DMTR_META_PASTE(a, b) a##b
#define DMTR_CONCAT(a, b) DMTR_META_PASTE(a, b)
#define DMTR_COUNTER __COUNTER__
/* An identifier that no other use of the macro in this translation unit has. */
#define DMTR_UNIQID(prefix) DMTR_CONCAT(prefix, DMTR_COUNTER)
#define DMTR_NOP() do { } while (0)

#endif
