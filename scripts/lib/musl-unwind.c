/*
 * What Debian's libgcc_eh.a expects of a C library and musl 1.2.3 lacks, so that a panic in a
 * static binary unwinds instead of aborting. Used by scripts/lib/static.sh with Debian's Rust.
 */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>

/* glibc's struct dl_find_object, as libgcc's unwinder reads it. */
struct found {
	unsigned long long flags;
	void *start, *end, *map, *eh_frame;
	unsigned long long reserved[7];
};

struct question {
	unsigned long pc;
	struct found *answer;
	int answered;
};

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
	struct question *q = data;
	const ElfW(Phdr) *eh = 0;
	unsigned long low = 0, high = 0;

	(void)size;
	for (int k = 0; k < object->dlpi_phnum; k++) {
		const ElfW(Phdr) *header = &object->dlpi_phdr[k];
		unsigned long at = object->dlpi_addr + header->p_vaddr;

		if (header->p_type == PT_LOAD && q->pc >= at && q->pc < at + header->p_memsz) {
			low = at;
			high = at + header->p_memsz;
		}
		if (header->p_type == PT_GNU_EH_FRAME)
			eh = header;
	}
	if (!high || !eh)
		return 0;
	*q->answer = (struct found){0, (void *)low, (void *)high, 0,
		(void *)(object->dlpi_addr + eh->p_vaddr), {0}};
	q->answered = 1;
	return 1;
}

/* gcc 12 asks this for the unwind table of a code address; musl answers it from its own list. */
int _dl_find_object(void *pc, struct found *answer)
{
	struct question q = {(unsigned long)pc, answer, 0};

	dl_iterate_phdr(look, &q);
	return q.answered ? 0 : -1;
}

/*
 * libgcc_eh refers to these weakly. In a static link a weak reference pulls nothing in, the
 * address stays null, and the unwinder jumps to it; a strong reference here brings them in.
 */
void *const asl_keep_threads[] __attribute__((used)) = {
	(void *)pthread_once, (void *)pthread_key_create, (void *)pthread_getspecific,
	(void *)pthread_setspecific, (void *)pthread_mutex_lock, (void *)pthread_mutex_unlock,
	(void *)pthread_create, (void *)pthread_cond_wait,
};
