/* libdmtr-libos-common.a: old link lines name it. What it once held is in libdmtr.so, so it has just this mark. */
extern const char dmtr_archive_common[];
const char dmtr_archive_common[] = "libdmtr-libos-common.a";
