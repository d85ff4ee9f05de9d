#!/usr/bin/env python3
"""Records conversations with a real redis-server, for tests/real.rs.

    redis-server --port 7391 --save '' --enable-debug-command yes &
    python3 record.py 7391 > real-7.0.txt

A line is a piece as it was sent ('>') or received ('<'), escaped; '# name' begins a connection;
'= command calls' is what the server counted.
"""
import socket
import sys
import time

PORT = int(sys.argv[1])


class Client:
    def __init__(self, name, loud=True):
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.loud = loud
        self.say("# " + name)

    def say(self, line):
        if self.loud:
            print(line)

    def send(self, data, wait=0.05):
        self.socket.sendall(data)
        self.say("> " + escape(data))
        return self.hear(wait)

    def hear(self, wait=0.05):
        heard = b""
        self.socket.settimeout(wait)
        try:
            while piece := self.socket.recv(65536):
                self.say("< " + escape(piece))
                heard += piece
        except TimeoutError:
            pass
        except ConnectionError:
            pass
        return heard

    def do(self, *lines):
        for line in lines:
            self.send(array(line.split(" ")))


def escape(data):
    return data.decode("latin-1").encode("unicode_escape").decode()


def array(words):
    words = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


control = Client("control", loud=False)
control.send(array(["FLUSHALL"]))
control.send(array(["CONFIG", "SET", "repl-diskless-sync-delay", "0"]))
control.send(array(["CONFIG", "RESETSTAT"]))

one = Client("everyday")
one.do("SET a 1", "GET a", "GET nothing", "INCR a", "LPUSH l x y z", "LRANGE l 0 -1", "GET l", "NOSUCH x y")
one.do("HSET h f v g w", "HGETALL h", "MGET a b a", "HMGET h f x", "EXISTS a b", "DEL a", "TYPE l", "SET")
one.send(b"".join(array(line.split(" ")) for line in ["SET p 1", "GET p", "INCR p", "LRANGE l 0 0", "GET q"]))
one.send(b"ping\r\nSET k \"a b\"\r\n\r\nget k\n")
one.send(array(["SET", "big", b"v" * 3000]))
one.do("GET big", "STRLEN big")
one.do("XADD s 1-1 f v", "XRANGE s - +", "XREAD COUNT 1 STREAMS s 0", "XREAD BLOCK 10 STREAMS s $", "BLPOP none 0.01")
one.do("EVAL return{1,{2,'x'}} 0", "CLIENT ID", "COMMAND COUNT", "SLOWLOG GET", "WAIT 0 10", "SCAN 0")

two = Client("transactions")
two.do("MULTI", "SET t 1", "GET t", "LRANGE l 0 -1", "BLPOP l 0", "EXEC", "MULTI", "INCR t x", "EXEC", "EXEC")
two.do("WATCH t", "MULTI", "EXEC", "MULTI", "DISCARD")

# EXEC's array counts commands and holds confirmations.
for hello in [], ["HELLO 3"]:
    name = "resp3" if hello else "resp2"
    subscribing = Client(name + " subscriptions in a transaction")
    subscribing.do(*hello, "MULTI", "SUBSCRIBE a b", "GET x", "EXEC", "PING")
    control.send(array(["PUBLISH", "a", "hello"]))
    subscribing.hear()
    subscribing.do("UNSUBSCRIBE", "LRANGE l 0 -1", "MULTI", "GET x", "PSUBSCRIBE p*", "SUBSCRIBE a b", "UNSUBSCRIBE")
    subscribing.do("GET x", "LRANGE l 0 -1", "EXEC", "PUNSUBSCRIBE", "GET x", "MULTI", "UNSUBSCRIBE", "EXEC", "GET x")
    subscribing.do("MULTI", "SSUBSCRIBE s t", "SUNSUBSCRIBE", "MONITOR", "GET x", "EXEC", "GET x")
    pipeline = ["MULTI", "SUBSCRIBE a b", "EXEC", "UNSUBSCRIBE", "MULTI", "PSUBSCRIBE a", "PUNSUBSCRIBE", "EXEC", "GET x"]
    subscribing.send(b"".join(array(line.split(" ")) for line in pipeline))

three = Client("resp2 subscriptions")
three.do("SUBSCRIBE ch1 ch2", "PSUBSCRIBE c*")
control.send(array(["PUBLISH", "ch1", "hello"]))
three.hear()
three.do("PING", "GET a", "UNSUBSCRIBE", "PUNSUBSCRIBE", "UNSUBSCRIBE", "SSUBSCRIBE s1 s2", "SUNSUBSCRIBE", "GET t")
three.do("SUBSCRIBE again", "RESET", "PING")

four = Client("resp3")
four.do("HELLO 3", "HGETALL h", "GET nothing", "MGET a b k", "ZADD z 1.5 m", "ZSCORE z m", "ZRANGE z 0 -1 WITHSCORES")
for kind in ["string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "false", "bignum"]:
    four.do("DEBUG PROTOCOL " + kind)
four.do("SUBSCRIBE ch3 ch4")
control.send(array(["PUBLISH", "ch3", "hello"]))
four.hear()
four.do("GET t", "UNSUBSCRIBE", "CLIENT TRACKING ON", "GET t")
control.send(array(["SET", "t", "2"]))
four.hear()
four.send(array(["SUBSCRIBE", "x"]) + array(["GET", "t"]) + array(["UNSUBSCRIBE", "x"]))

five = Client("client reply")
five.do("CLIENT REPLY OFF", "SET r 1", "NOSUCH", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "GET r")
five.do("CLIENT REPLY SKIP", "SET r 2", "GET r", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "GET r")
five.do("CLIENT REPLY SKIP", "CLIENT REPLY OFF", "GET r", "CLIENT REPLY ON", "GET r")
five.do("CLIENT REPLY OFF", "SUBSCRIBE o1 o2", "UNSUBSCRIBE", "GET r", "CLIENT REPLY ON", "GET r")
five.do("CLIENT REPLY OFF", "GET r", "RESET", "GET r")
five.do("CLIENT REPLY SKIP", "RESET", "GET r", "CLIENT REPLY SKIP", "SUBSCRIBE s1 s2", "RESET", "GET r")
five.do("MULTI", "CLIENT ID", "EXEC", "QUIT")

six = Client("monitor")
six.do("MONITOR")
control.send(array(["GET", "t"]))
six.hear()
six.do("RESET", "PING")

seven = Client("replica")
seven.do("PING", "REPLCONF listening-port 6380", "REPLCONF ACK 0", "REPLCONF capa eof capa psync2")
seven.send(array(["PSYNC", "?", "-1"]), 2)

eight = Client("broken")
eight.do("PING")
eight.send(b"*1\r\n$x\r\n")
nine = Client("quotes")
nine.send(b"set k \"open\r\n")

# What the quiet connection itself sent.
mine = {"config": 1, "publish": 4, "set": 1, "get": 1}
time.sleep(0.1)
counts = {}
for line in control.send(array(["INFO", "commandstats"])).decode().splitlines():
    if line.startswith("cmdstat_"):
        name, fields = line[len("cmdstat_"):].split(":")
        fields = dict(field.split("=") for field in fields.split(","))
        name = name.split("|")[0]
        counts[name] = counts.get(name, 0) + int(fields["calls"]) + int(fields["rejected_calls"])
for name, calls in mine.items():
    counts[name] = counts.get(name, 0) - calls
for name, calls in sorted(counts.items()):
    if calls:
        print("=", name, calls)
