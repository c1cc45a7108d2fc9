"""A web server on the loopback interface that misbehaves as it is told to."""

import contextlib
import http.server
import re
import threading
import urllib.request

# Without the proxies that the environment may name: this server is on this machine.
open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Server(http.server.ThreadingHTTPServer):
    """Serve one content at every address, and keep a record of the requests.

    Attributes
    ----------
    content : bytes
        What is served.
    ranges : bool
        Whether a request for a part of it is understood.
    shift : int
        By how many bytes the answer to such a request starts too late.
    drop_after : list of int
        For each request to come, after how many bytes its connection breaks; when the list is used up, none
        does.
    stall : threading.Event or None
        If given, a connection that is about to break waits for this event before.
    statuses : list of int
        For each request to come, the error it is answered with; when the list is used up, none.
    says_length : bool
        Whether an answer tells its length.
    asked : list
        The `Range` header of each request, or None.
    bytes_sent : int
        The number of bytes of content sent in all.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.ranges, self.shift, self.says_length = True, 0, True
        self.drop_after, self.statuses, self.stall = [], [], None
        self.asked, self.bytes_sent = [], 0
        self.record = threading.Lock()

    @property
    def url(self):
        """An address at this server."""
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer one request as the server is told to."""

    def do_GET(self):
        """Send the content, or a part, or half of it, or an error."""
        server = self.server
        with server.record:
            asked = self.headers.get("Range")
            server.asked.append(asked)
            status = server.statuses.pop(0) if server.statuses else 200
            drop = server.drop_after.pop(0) if server.drop_after else None
        self.close_connection = True
        body, first = server.content, 0
        if status != 200:
            self.send_error(status)
            return
        if asked and server.ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if first >= len(body):
                self.send_error(416)
                return
            first += server.shift
            body, status = body[first:], 206
        self.send_response(status)
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        sent = body if drop is None else body[:drop]
        with server.record:  # before they are sent: whoever has received them finds them counted
            server.bytes_sent += len(sent)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(sent)
            self.wfile.flush()
        if drop is not None and server.stall is not None:
            server.stall.wait()

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def running(content):
    """Run a server in a thread of its own."""
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
