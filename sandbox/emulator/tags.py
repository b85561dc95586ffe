"""Changes the tags of a resource with the tag operations of its service."""

from botocore.model import ListShape, StructureShape
from pulumi_local.engine.update import NotUpdatable

from sandbox.emulator.request import ChangeRequest, normalized

_OPERATIONS = (
    ("add_tags_to_resource", "remove_tags_from_resource"),
    ("add_tags_to_certificate", "remove_tags_from_certificate"),
    ("add_tags", "remove_tags"),
    ("tag_queue", "untag_queue"),
    ("tag_resource", "untag_resource"),
)


def change(request: ChangeRequest) -> None:
    """Set the tags of the request, and remove the other tags. Raises NotUpdatable if the service
    has no tag operations.
    """
    removed = sorted(set(request.old.outputs.get("tagsAll") or {}) - set(request.tags))
    if request.service == "ec2":
        request.call("ec2.create_tags", Resources=[request.old.id], Tags=request.tag_list())
        if removed:
            tags = [{"Key": key} for key in removed]
            request.call("ec2.delete_tags", Resources=[request.old.id], Tags=tags)
        return
    kind = request.registration.type.rpartition(":")[2].removeprefix("ServiceLinked")
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind)
    for tag, untag in (*_OPERATIONS, (f"tag{words}", f"untag{words}")):
        if request.has_operation(f"{request.service}.{tag}"):
            _send(request, f"{request.service}.{tag}", [])
            if removed:
                _send(request, f"{request.service}.{untag}", removed)
            return
    raise NotUpdatable("the emulator cannot change the tags in place")


def _send(request: ChangeRequest, call: str, removed: list[str]) -> None:
    shape = request.input_shape(call)
    parameters = request.tag_parameters(shape) if not removed else {}
    for name, member in shape.members.items():
        if removed and normalized(name) in ("tagkeys", "tags", "tagslist"):
            structures = isinstance(member, ListShape) and isinstance(member.member, StructureShape)
            keys = [{"Key": key} for key in removed] if structures else removed
            parameters[name] = {"Items": keys} if isinstance(member, StructureShape) else keys
        elif name in shape.required_members and name not in parameters:
            value = request.scope.get(name) or request.old.outputs.get("arn") or request.old.id
            parameters[name] = [value] if isinstance(member, ListShape) else value
    request.call(call, parameters)
