"""KEDA's contract through gRPC's C core (Debian's python3-grpcio), without generated code: prints what each call answers."""
import json
import sys

import grpc


def field(number, kind, payload):
    return bytes([number << 3 | kind]) + payload


def text(number, value):
    value = value.encode()
    return field(number, 2, varint(len(value)) + value)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(number, payload):
    return field(number, 2, varint(len(payload)) + payload)


def main(address, metadata):
    ref = text(1, "grpcio") + text(2, "jobs")
    for key, value in metadata.items():
        ref += message(3, text(1, key) + text(2, value))
    answers = {}
    with grpc.insecure_channel(address) as channel:
        scaler = "/externalscaler.ExternalScaler/"
        for name, request in (
            ("GetMetricSpec", ref),
            ("GetMetrics", message(1, ref) + text(2, "m")),
            ("IsActive", ref),
            ("Nothing", ref),
        ):
            try:
                answers[name] = channel.unary_unary(scaler + name)(request, timeout=10).hex()
            except grpc.RpcError as error:
                answers[name] = f"{error.code().name}: {error.details()}"
        zipped = channel.unary_unary("/grpc.health.v1.Health/Check")
        answers["Health"] = zipped(b"", timeout=10, compression=grpc.Compression.Gzip).hex()
        stream = channel.unary_stream(scaler + "StreamIsActive")(ref, timeout=10)
        try:
            answers["StreamIsActive"] = next(stream).hex()
            stream.cancel()
        except grpc.RpcError as error:
            answers["StreamIsActive"] = f"{error.code().name}: {error.details()}"
    print(json.dumps(answers))


main(sys.argv[1], json.loads(sys.argv[2]))
