"""A runner that dies in mid-fault: scales a deployment to 0 under guard, says so, and waits to be killed."""

import signal
import sys
import threading
from pathlib import Path

from chaos.faults import ScaleToZero
from chaos.guard import guard
from chaos.log import LOG_NAMESPACE
from chaos.runner import injected
from fixtures.kube import Kube

# A shell without job control starts what runs in the background deaf to Ctrl-C, and that is handed down.
signal.signal(signal.SIGINT, signal.default_int_handler)
kubeconfig, image, namespace, deployment = sys.argv[1:]
kube = Kube.connect(Path(kubeconfig))
fault = ScaleToZero(namespace, deployment)
with guard(kube, image, "dying") as allow:
    kube.wait_pods_ready(LOG_NAMESPACE, count=1)
    allow(fault.rights())
    with injected(kube, fault):
        sys.stdout.write("injected\n")
        sys.stdout.flush()
        threading.Event().wait()
