#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Subscribe without any .proto or generated file: what the messages look like is asked of the broker itself.

usage: reflect_subscribe.py ADDRESS [COUNT]        prints events from the oldest as JSON, COUNT of them or for ever

Stock grpcio and protobuf only. The few messages of the reflection protocol are described here, by hand; everything of
Sensebus comes from the broker."""
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
REFLECTION = "grpc.reflection.v1"


def reflection_file():
    """The part of grpc/reflection/v1/reflection.proto that is needed to ask for a symbol and to read the answer."""
    file = descriptor_pb2.FileDescriptorProto(name="reflection_by_hand.proto", package=REFLECTION, syntax="proto3")

    def message(name, *fields):
        entry = file.message_type.add(name=name)
        for field_name, number, kind, label, type_name in fields:
            entry.field.add(name=field_name, number=number, type=kind, label=label,
                            type_name=f".{REFLECTION}.{type_name}" if type_name else None)

    one, many = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED
    message("ServerReflectionRequest", ("file_containing_symbol", 4, FIELD.TYPE_STRING, one, None))
    message("FileDescriptorResponse", ("file_descriptor_proto", 1, FIELD.TYPE_BYTES, many, None))
    message("ErrorResponse", ("error_code", 1, FIELD.TYPE_INT32, one, None),
            ("error_message", 2, FIELD.TYPE_STRING, one, None))
    message("ServerReflectionResponse",
            ("file_descriptor_response", 4, FIELD.TYPE_MESSAGE, one, "FileDescriptorResponse"),
            ("error_response", 7, FIELD.TYPE_MESSAGE, one, "ErrorResponse"))
    return file


def message_class(pool, name):
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))


def add_files(pool, serialized):
    """Files come in any order; the pool wants what a file imports before the file."""
    waiting = {file.name: file for file in map(descriptor_pb2.FileDescriptorProto.FromString, serialized)}

    def add(name):
        file = waiting.pop(name, None)
        if file:
            for needed in file.dependency:
                add(needed)
            pool.Add(file)

    while waiting:
        add(next(iter(waiting)))


def fetch(channel, symbol):
    """A pool with the file that has `symbol`, and all that it needs."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(reflection_file())
    request_class = message_class(pool, f"{REFLECTION}.ServerReflectionRequest")
    response_class = message_class(pool, f"{REFLECTION}.ServerReflectionResponse")
    ask = channel.stream_stream(f"/{REFLECTION}.ServerReflection/ServerReflectionInfo",
                                request_serializer=request_class.SerializeToString,
                                response_deserializer=response_class.FromString)
    answer = next(ask(iter([request_class(file_containing_symbol=symbol)])))
    if answer.error_response.error_message:
        sys.exit(f"reflection: {answer.error_response.error_message}")
    add_files(pool, answer.file_descriptor_response.file_descriptor_proto)
    return pool


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else None
    pool = fetch(channel, "sensebus.v1.Events")
    method = pool.FindServiceByName("sensebus.v1.Events").FindMethodByName("Subscribe")
    request_class = message_class(pool, method.input_type.full_name)
    batch_class = message_class(pool, method.output_type.full_name)
    subscribe = channel.unary_stream("/sensebus.v1.Events/Subscribe",
                                     request_serializer=request_class.SerializeToString,
                                     response_deserializer=batch_class.FromString)
    request = request_class()
    request.oldest.SetInParent()
    for batch in subscribe(request):
        for event in batch.events:
            print(json_format.MessageToJson(event, indent=None), flush=True)
            if count is not None:
                count -= 1
                if count == 0:
                    return


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
