/* Stands in for TAPIR's header of that name: the interface that DmtrTransport implements. */
#ifndef STANDIN_TRANSPORT_H
#define STANDIN_TRANSPORT_H

#include "lib/configuration.h"

#include <functional>
#include <memory>

#include <google/protobuf/message.h>

class TransportAddress {
public:
    virtual ~TransportAddress() {}
    virtual TransportAddress *clone() const = 0;
};

class TransportReceiver {
public:
    typedef ::google::protobuf::Message Message;

    virtual ~TransportReceiver() {}
    virtual void SetAddress(const TransportAddress *addr) { address.reset(addr); }
    virtual const TransportAddress &GetAddress() { return *address; }
    virtual void ReceiveMessage(const TransportAddress &remote, const string &type, const string &data) = 0;

private:
    std::unique_ptr<const TransportAddress> address;
};

typedef std::function<void(void)> timer_callback_t;

class Transport {
public:
    typedef ::google::protobuf::Message Message;

    virtual ~Transport() {}
    virtual void Register(TransportReceiver *receiver, const transport::Configuration &config, int replicaIdx) = 0;
    virtual bool SendMessage(TransportReceiver *src, const TransportAddress &dst, const Message &m) = 0;
    virtual bool SendMessageToReplica(TransportReceiver *src, int replicaIdx, const Message &m) = 0;
    virtual bool SendMessageToAll(TransportReceiver *src, const Message &m) = 0;
    virtual int Timer(uint64_t ms, timer_callback_t cb) = 0;
    virtual bool CancelTimer(int id) = 0;
    virtual void CancelAllTimers() = 0;
};

#endif
