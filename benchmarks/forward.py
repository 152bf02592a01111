"""How much sooner a series is at its destination when it goes through the gateway.

Stock storescu sends a series to a stock Orthanc, once directly and once through the gateway with consent check and
durable acknowledgement on, in turns within one run. The time ends when the Orthanc has every instance. Prints one
JSON object; compare the ratio, not the seconds.

    .venv/bin/python benchmarks/forward.py --dicom DIR [--instances 500] [--rounds 3]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pydicom

from gateway.app.parts import open_database, utc_now
from gateway.consent.forms import FormKind
from gateway.domain.institution import Institution
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Route
from gateway.errors import InputError
from gateway.ops.counterparts import LOOPBACK, OrthancServer, run_tool
from gateway.ops.node import GatewayNode
from gateway.ops.series import copies
from gateway.scu.orthanc import OrthancNode
from gateway.store.consents import register_form
from gateway.store.network import put_ae, put_institution, put_route

HOSPITAL_A = "1.2.410.100110.10.10000001"
HOSPITAL_B = "1.2.410.100110.10.10000002"
DEADLINE_S = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path, required=True, help="folder with the series to copy")
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if min(arguments.instances, arguments.rounds) < 1:
        parser.error("--instances and --rounds: expected at least 1")
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as scratch:
            result = measure(arguments.dicom, arguments.instances, arguments.rounds, Path(scratch))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2))
    return 0


def measure(dicom: Path, instances: int, rounds: int, scratch: Path) -> dict[str, object]:
    """Seconds of each round, their medians, and how many times sooner the gateway was."""
    files = copies(dicom, scratch / "series", instances)
    size_bytes = sum(path.stat().st_size for path in files)
    direct_s, through_s, acknowledged_s = [], [], []
    for number in range(rounds):
        for way in ("direct", "gateway") if number % 2 == 0 else ("gateway", "direct"):
            if way == "direct":
                direct_s.append(_direct(files, scratch))
            else:
                acknowledged, delivered = _through_gateway(files, scratch / f"node{number}", scratch)
                acknowledged_s.append(acknowledged)
                through_s.append(delivered)
            print(f"round {number + 1}: {way} done", file=sys.stderr)
    return {
        "instances": instances,
        "megabytes": round(size_bytes / 1e6, 1),
        "direct_s": [round(s, 2) for s in direct_s],
        "through_gateway_s": [round(s, 2) for s in through_s],
        "acknowledged_by_gateway_s": [round(s, 2) for s in acknowledged_s],
        "times_sooner": round(statistics.median(direct_s) / statistics.median(through_s), 2),
    }


def _direct(files: list[Path], scratch: Path) -> float:
    with OrthancServer("Hospital B", "HOSPITAL_B", scratch=scratch) as orthanc, orthanc.node() as node:
        began_at = time.monotonic()
        _storescu(files[0].parent, "HOSPITAL_B", orthanc.dicom_port)
        _wait_for(node, len(files))
        return time.monotonic() - began_at


def _through_gateway(files: list[Path], folder: Path, scratch: Path) -> tuple[float, float]:
    """Seconds until storescu was done, and until the Orthanc had everything."""
    with OrthancServer("Hospital B", "HOSPITAL_B", scratch=scratch) as orthanc, orthanc.node() as node:
        gateway = GatewayNode(folder)
        _register(gateway, orthanc.dicom_port, pydicom.dcmread(files[0], stop_before_pixels=True).PatientID)
        with gateway:
            began_at = time.monotonic()
            _storescu(files[0].parent, "GATEWAY", gateway.dicom_port)
            acknowledged_s = time.monotonic() - began_at
            _wait_for(node, len(files))
            return acknowledged_s, time.monotonic() - began_at


def _register(gateway: GatewayNode, destination_port: int, patient_id: str) -> None:
    database = open_database(gateway.settings)
    with database.write() as session:
        put_institution(session, Institution(HOSPITAL_A, "Hospital A"))
        put_institution(session, Institution(HOSPITAL_B, "Hospital B"))
        session.flush()
        put_ae(session, ApplicationEntity("STORESCU", HOSPITAL_A, LOOPBACK, 104, (f"{LOOPBACK}/32",)))
        put_ae(session, ApplicationEntity("HOSPITAL_B", HOSPITAL_B, LOOPBACK, destination_port))
        put_route(session, Route("to-b", "HOSPITAL_B"))
        register_form(session, PatientKey(HOSPITAL_A, patient_id), FormKind.ENTIRE_CONSENT, utc_now(), "benchmark")
    database.close()


def _storescu(folder: Path, called_ae_title: str, port: int) -> None:
    sent = run_tool("storescu", "-aec", called_ae_title, "+sd", LOOPBACK, str(port), folder, timeout_s=DEADLINE_S)
    if sent.returncode:
        raise SystemExit(f"storescu failed: {sent.stderr.strip().splitlines()[-1]}")


def _wait_for(node: OrthancNode, count: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while node.count_instances() < count:
        if time.monotonic() > end:
            raise SystemExit(f"the destination did not receive all instances within {DEADLINE_S:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(main())
