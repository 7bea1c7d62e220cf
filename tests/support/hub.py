"""A stand-in of the hub's HTTP API on this machine: repositories in memory, tokens, commits, downloads."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN, READ_ONLY = "hf_write", "hf_read"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """repos: {name: {path: bytes}}. private: {name: bool}. asked: (method, path) of every request."""

    def __init__(self):
        self.repos, self.private, self.asked = {}, {}, []


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *args):
        pass

    def reply(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refused(self, *enough):
        """Answer 401 or 403, unless the request has a token that is enough."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_ONLY):
            self.reply(401, {"error": "Invalid username or password."})
        elif token not in enough:
            self.reply(403, {"error": "Forbidden: you need write access"})
        else:
            return False
        return True

    def do_POST(self):
        self.hub.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if self.refused(TOKEN):
            return None
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.hub.repos:
                return self.reply(409, {"error": "exists", "url": f"{self.hub.address}/{name}"})
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.repos[name], self.hub.private[name] = {}, bool(private)
            return self.reply(200, {"url": f"{self.hub.address}/{name}", "name": name})
        name = re.match(r"/api/models/([^/]+/[^/]+)/", self.path)[1]
        if name not in self.hub.repos:
            return self.reply(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        if "/preupload/" in self.path:
            files = [f | {"uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            return self.reply(200, {"files": files})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.hub.repos[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self.reply(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def do_GET(self):
        self.hub.asked.append((self.command, self.path))
        if self.path == "/api/whoami-v2":
            return None if self.refused(TOKEN, READ_ONLY) else self.reply(200, {"name": "ada", "type": "user"})
        path = self.path.partition("?")[0]
        found = re.match(r"(?:/api/models)?/([^/]+/[^/]+)/(revision|tree|resolve)/", path)
        if found is None:
            return self.reply(404, {"error": "not here"})
        name = found[1]
        if name not in self.hub.repos:
            return self.reply(401, {"error": "Invalid username or password."}, X_Error_Code="RepoNotFound")
        files = self.hub.repos[name]
        if "/resolve/" in path:
            content = files[path.partition("/resolve/")[2].partition("/")[2]]
            etag = hashlib.sha1(content).hexdigest()
            return self.reply(200, content, ETag=f'"{etag}"', X_Repo_Commit=COMMIT)
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for p, c in files.items()
            ]
            return self.reply(200, tree)
        return self.reply(200, {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]})

    do_HEAD = do_GET


@contextlib.contextmanager
def running_hub():
    """A Hub that answers at `address` while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OurHandler", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
