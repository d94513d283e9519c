/* What a plugin of the other generation offers to host.c, in types that both have. All but plugin_pop end the process if a call fails. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a result is fetched. */
enum { BY_WAIT, BY_WAIT_ANY, BY_POLL, NUM_WAYS };

/* Pushes an array of as many segments as the plugin's generation has. */
void plugin_push(int qd, char *bytes, uint32_t len);

/* Starts a pop, for others to wait for. */
uint64_t plugin_start_pop(int qd);

/* Waits for a pop that somebody has started. Returns its errno, and the sga_buf and bytes it gave, which must lie in one piece. */
int plugin_pop(uint64_t qt, int way, void **sga_buf, const char **bytes, size_t *len);

/* Makes two connected queues. */
void plugin_tcp_pair(int *client, int *server);

#ifdef __cplusplus
}
#endif

#endif
