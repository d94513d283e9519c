// A C++ program: exceptions that pass through its own frames around calls, thread_local and static objects whose destructors
// call the library when a thread or the program ends.
#include "net/peer.h"

#include <stdexcept>
#include <thread>
#include <vector>

namespace {

int ended;

struct Failure : std::runtime_error {
    int err;
    explicit Failure(int e) : std::runtime_error("failed"), err(e) {}
};

void ok(int err)
{
    if (err != 0)
        throw Failure(err);
}

struct Queue {
    int qd;
    Queue() : qd(0) {}
    void open() { ok(dmtr_queue(&qd)); }
    ~Queue()
    {
        if (qd != 0) {
            CHECK_ERR(dmtr_close(qd), 0);
            __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
        }
    }
    void echo()
    {
        q_push(qd, "x", 1);
        q_pop_is(qd, "x", 1);
    }
};

// Closes sockets and waits when the thread ends.
struct Connection {
    int client, server;
    Connection() : client(0), server(0) { test_tcp_pair(&client, &server); }
    void echo()
    {
        q_push(client, "hello", 5);
        q_pop_is(server, "hello", 5);
    }
    ~Connection()
    {
        echo();
        dmtr_qtoken_t qt = q_start_pop(server);
        CHECK_ERR(dmtr_close(client), 0);
        CHECK_ERR(dmtr_wait(NULL, qt), ECONNABORTED);
        CHECK_ERR(dmtr_close(server), 0);
        __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
    }
};

thread_local Connection connection;

int last_qd;

// Outlives the queue below.
struct Last {
    ~Last()
    {
        int qd = 0;
        if (last_qd != 0 && (dmtr_queue(&qd) != 0 || dmtr_close(qd) != 0 || dmtr_close(last_qd) != ENOENT))
            _exit(5);
    }
};
Last last;

Queue at_exit; // closed when the program ends

// Throws in a frame between calls, which a destructor leaves by more of them.
void thrower(int depth)
{
    Queue q;
    q.open();
    q.echo();
    if (depth > 0)
        thrower(depth - 1);
    ok(dmtr_close(INT32_MAX));
}

void test_exceptions()
{
    for (int i = 0; i < 100; i++) {
        int before = ended, err = 0;
        try {
            thrower(i % 5);
        } catch (const Failure &f) {
            err = f.err;
        }
        CHECK_ERR(err, ENOENT);
        CHECK_EQ(ended, before + i % 5 + 1);
    }
}

void test_thread_local()
{
    for (int i = 0; i < 20; i++) {
        int before = ended;
        std::vector<std::thread> threads;
        for (int j = 0; j < 4; j++)
            threads.emplace_back([] {
                connection.echo();
                try {
                    thrower(2);
                } catch (const Failure &) {
                }
            });
        for (auto &t : threads)
            t.join();
        CHECK_EQ(ended, before + 4 * 4);
    }
}

} // namespace

int main()
{
    test_init();
    at_exit.open();
    last_qd = at_exit.qd;
    test_exceptions();
    test_thread_local();
    connection.echo();
    return 0;
}
