"""TLS, held against Mozilla's guideline 6.0 by sslyze: protocols, suites, groups, certificate and known attacks."""

from __future__ import annotations

import contextlib
import io
import json
import time
import warnings
from pathlib import Path

from slipgrade.model import HERE, Grade, GradeError, Target

GUIDELINE = HERE / "mozilla-6.0.json"
# How often a server is tried that does not take the first connection, and the seconds between.
ATTEMPTS, PAUSE = 3, 2.0
# How long an answer may take. Of a server that asks visitors for a certificate sslyze waits in vain for one, and takes that for an answer
# itself; a server that drops slow visitors must not be quicker (roles/nginx: client_header_timeout).
SECONDS = 8


def grade(target: Target, *, port: int = 443) -> Grade:
    """Scan the host as its visitors meet it; the policy that inventory chose decides which profile is the bar."""
    # sslyze takes a second to import, which only its own grade should cost.
    from sslyze.errors import ServerHostnameCouldNotBeResolved
    from sslyze.mozilla_tls_profile.tls_config_checker import (
        SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
        ServerNotCompliantWithTlsConfiguration,
        ServerScanResultIncomplete,
        TlsConfigurationAsJson,
        check_server_against_tls_configuration,
    )
    from sslyze.plugins.certificate_info.implementation import CertificateInfoExtraArgument
    from sslyze.scanner.models import ScanCommandsExtraArguments, ServerScanRequest
    from sslyze.scanner.scanner import Scanner
    from sslyze.server_setting import ServerNetworkConfiguration, ServerNetworkLocation

    profiles = json.loads(GUIDELINE.read_text())["configurations"]
    bar = f"Mozilla 6.0 {target.tls_policy}"
    try:
        location = ServerNetworkLocation(target.domain, port, ip_address=target.address)
    except ServerHostnameCouldNotBeResolved as error:
        raise GradeError(f"sslyze: {target.domain} cannot be resolved.") from error
    authority = CertificateInfoExtraArgument(Path(target.ca)) if target.ca else None
    request = ServerScanRequest(
        location,
        ServerNetworkConfiguration(target.domain, network_timeout=SECONDS),
        scan_commands=set(SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER),
        scan_commands_extra_arguments=ScanCommandsExtraArguments(certificate_info=authority),
    )
    # Old roots in the stores that it brings along are told of in warnings, which are not about this site.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A connection that was reset is no verdict; a server that nobody reaches stays out of reach.
        for _ in range(ATTEMPTS):
            scanner = Scanner()
            scanner.queue_scans([request])
            result = next(iter(scanner.get_results()))
            if result.connectivity_error_trace is None:
                break
            time.sleep(PAUSE)
    try:
        check_server_against_tls_configuration(result, TlsConfigurationAsJson(**profiles[target.tls_policy]))
    except ServerNotCompliantWithTlsConfiguration as error:
        findings = tuple(f"{name}: {text}" for name, text in sorted(error.issues.items()))
        return Grade("sslyze", target.name, bar, "not compliant", False, findings)
    except ServerScanResultIncomplete as error:
        reason = str(result.connectivity_error_trace or "").strip().splitlines()
        raise GradeError(f"sslyze could not finish: {error} {reason[-1] if reason else ''}") from error
    return Grade("sslyze", target.name, bar, "compliant", True)
