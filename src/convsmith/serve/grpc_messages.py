"""The messages of `inference.GRPCInferenceService`, made when they are needed.

Names, numbers and types are those of the Open Inference Protocol, and of Triton's extension for repositories, as their
documentation states them: https://github.com/kserve/open-inference-protocol and
https://github.com/triton-inference-server/server/blob/main/docs/protocol. No code of either is in here, and nothing is
generated, so any version of protobuf will do.
"""

from __future__ import annotations

from functools import cache
from typing import Any

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
"""Each takes a message NAMERequest and gives a message NAMEResponse."""

# The fields of each message, in the order of their numbers from 1 on: `*` means repeated, `map:` by texts, `one:` that
# no other field so marked is set; a capital begins a message, a dot one inside that of the field.
_MESSAGES = {
    "InferParameter": "one:bool bool_param, one:int64 int64_param, one:string string_param, one:double double_param, "
    "one:uint64 uint64_param",
    "InferTensorContents": "*bool bool_contents, *int32 int_contents, *int64 int64_contents, *uint32 uint_contents, "
    "*uint64 uint64_contents, *float fp32_contents, *double fp64_contents, *bytes bytes_contents",
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready",
    "ModelReadyRequest": "string name, string version",
    "ModelReadyResponse": "bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name, string version, *string extensions",
    "ModelMetadataRequest": "string name, string version",
    "ModelMetadataResponse.TensorMetadata": "string name, string datatype, *int64 shape",
    "ModelMetadataResponse": "string name, *string versions, string platform, *.TensorMetadata inputs, "
    "*.TensorMetadata outputs",
    "ModelInferRequest.InferInputTensor": "string name, string datatype, *int64 shape, "
    "map:InferParameter parameters, InferTensorContents contents",
    "ModelInferRequest.InferRequestedOutputTensor": "string name, map:InferParameter parameters",
    "ModelInferRequest": "string model_name, string model_version, string id, map:InferParameter parameters, "
    "*.InferInputTensor inputs, *.InferRequestedOutputTensor outputs, *bytes raw_input_contents",
    "ModelInferResponse.InferOutputTensor": "string name, string datatype, *int64 shape, "
    "map:InferParameter parameters, InferTensorContents contents",
    "ModelInferResponse": "string model_name, string model_version, string id, map:InferParameter parameters, "
    "*.InferOutputTensor outputs, *bytes raw_output_contents",
    "ModelRepositoryParameter": "one:bool bool_param, one:int64 int64_param, one:string string_param, "
    "one:bytes bytes_param",
    "RepositoryIndexRequest": "string repository_name, bool ready",
    "RepositoryIndexResponse.ModelIndex": "string name, string version, string state, string reason",
    "RepositoryIndexResponse": "*.ModelIndex models",
    # KServe has the model's name first and no repository, and says in the answer which model it was
    "RepositoryModelLoadRequest": "string repository_name, string model_name, map:ModelRepositoryParameter parameters",
    "RepositoryModelLoadResponse": "string model_name, bool isLoaded",
    "RepositoryModelUnloadRequest": "string repository_name, string model_name, "
    "map:ModelRepositoryParameter parameters",
    "RepositoryModelUnloadResponse": "string model_name, bool isUnloaded",
}


@cache
def messages() -> dict[str, Any]:
    """The class of each message by its name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="convsmith_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for name in sorted(_MESSAGES, key=lambda it: it.count(".")):
        outer, _, inner = name.rpartition(".")
        made[name] = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=inner)
    for name, fields in _MESSAGES.items():
        for number, text in enumerate(filter(None, fields.split(", ")), 1):
            _add_field(made[name], name, number, text)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES
    }


def _add_field(message: Any, owner: str, number: int, text: str) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto

    kind, name = text.split()
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.startswith("one:"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        kind, field.oneof_index = kind[4:], 0
    if kind.startswith("map:"):
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, owner, 1, "string key")
        _add_field(entry, owner, 2, f"{kind[4:]} value")
        kind = f"*.{entry.name}"
    if kind.startswith("*"):
        kind, field.label = kind[1:], FieldDescriptorProto.LABEL_REPEATED
    if kind[0] == "." or kind[0].isupper():
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{owner}{kind}" if kind[0] == "." else f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}")
