"""Certificates and keys for tests, made by openssl."""

import itertools
import subprocess
from pathlib import Path

AUTHORITY = "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"
SIGNED = "basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Pki:
    """Makes certificates in a folder; each is ``(path of the certificate, path of its key)``."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.numbers = itertools.count()

    def _make(self, days, extensions, issuer=None):
        name = f"pem{next(self.numbers)}"
        certificate, key, request, more = (self.folder / f"{name}.{end}" for end in ("crt", "key", "csr", "ext"))
        more.write_text(extensions)
        # A curve, since its keys are made in no time.
        key_type = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        _openssl("req", *key_type, "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signer = ("-CA", issuer[0], "-CAkey", issuer[1], "-CAcreateserial") if issuer else ("-signkey", key)
        _openssl("x509", "-req", "-in", request, *signer, "-days", days, "-extfile", more, "-out", certificate)
        return str(certificate), str(key)

    def authority(self):
        return self._make(99, AUTHORITY + "keyUsage=critical,keyCertSign\n")

    def signed(self, authority, address, days=99):
        """A certificate of an authority; one with negative days has expired."""
        return self._make(days, f"subjectAltName=IP:{address}\n" + SIGNED, authority)

    def self_signed(self, address, days=99):
        return self._make(days, f"subjectAltName=IP:{address}\n" + AUTHORITY)
