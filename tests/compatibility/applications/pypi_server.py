"""Serves pypiserver below a path. Arguments: port, path and folder of the packages."""

import sys

import pypiserver
from cheroot.wsgi import PathInfoDispatcher, Server

port, path, folder = sys.argv[1:]
index = pypiserver.app(roots=[folder], authenticate=[], password_file=".")
Server(("127.0.0.1", int(port)), PathInfoDispatcher({path: index})).start()
