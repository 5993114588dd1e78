"""Task definitions: families and their revisions."""

from ..calls import Call
from .requests import container, definition


def named(ecs: Call, name: str) -> tuple[int, str]:
    _, answer = ecs("DescribeTaskDefinition", taskDefinition=name)
    return answer["taskDefinition"]["revision"], answer["taskDefinition"]["status"]


def test_a_family_means_its_latest_active_revision(ecs: Call) -> None:
    for _ in range(2):
        ecs("RegisterTaskDefinition", **definition())
    ecs("DeregisterTaskDefinition", taskDefinition="report:3")

    assert named(ecs, "report") == (2, "ACTIVE")
    assert named(ecs, "report:3") == (3, "INACTIVE")
    _, ran = ecs("RegisterTaskDefinition", **definition())
    assert ran["taskDefinition"]["revision"] == 4


def test_a_revision_has_the_times_of_its_life(ecs: Call) -> None:
    _, made = ecs("RegisterTaskDefinition", **definition(tags=[{"key": "a", "value": "b"}]))
    _, gone = ecs("DeregisterTaskDefinition", taskDefinition="report:2")
    _, found = ecs("DescribeTaskDefinition", taskDefinition="report:2", include=["TAGS"])

    assert made["tags"] == found["tags"] == [{"key": "a", "value": "b"}]
    assert found["taskDefinition"]["registeredAt"] == made["taskDefinition"]["registeredAt"]
    assert gone["taskDefinition"]["deregisteredAt"] == found["taskDefinition"]["deregisteredAt"]
    assert found["taskDefinition"]["compatibilities"] == ["EC2", "FARGATE"]


def test_a_deleted_revision_is_gone_and_its_number_is_not_given_again(ecs: Call) -> None:
    ecs("RegisterTaskDefinition", **definition())
    ecs("DeregisterTaskDefinition", taskDefinition="report:2")
    _, answer = ecs("DeleteTaskDefinitions", taskDefinitions=["report:1", "report:2", "report", "none:1"])
    _, again = ecs("DeleteTaskDefinitions", taskDefinitions=["report:2"])

    assert [one["status"] for one in answer["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert [one["arn"] for one in answer["failures"]] == ["report:1", "report", "none:1"]
    assert "still in ACTIVE status" in answer["failures"][0]["reason"]
    assert "identifier is invalid" in answer["failures"][1]["reason"]
    assert "does not exist" in answer["failures"][2]["reason"]
    assert again["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
    _, made = ecs("RegisterTaskDefinition", **definition())
    assert made["taskDefinition"]["revision"] == 3


def test_revisions_are_listed_by_number(ecs: Call) -> None:
    for _ in range(10):
        ecs("RegisterTaskDefinition", **definition())
    ecs("RegisterTaskDefinition", **definition(family="reports"))
    ecs("DeregisterTaskDefinition", taskDefinition="report:3")

    def listed(**asked: object) -> list[str]:
        _, answer = ecs("ListTaskDefinitions", **asked)
        return [arn.rpartition("/")[2] for arn in answer["taskDefinitionArns"]]

    numbers = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert listed(familyPrefix="report") == [f"report:{number}" for number in numbers]
    assert listed(familyPrefix="report", sort="DESC")[:2] == ["report:11", "report:10"]
    assert listed(status="INACTIVE") == ["report:3"]
    assert listed()[-1] == "reports:1"


def test_families_are_listed_by_what_is_active(ecs: Call) -> None:
    ecs("RegisterTaskDefinition", **definition(family="old"))
    ecs("DeregisterTaskDefinition", taskDefinition="old:1")

    def listed(**asked: object) -> list[str]:
        _, answer = ecs("ListTaskDefinitionFamilies", **asked)
        families: list[str] = answer["families"]
        return families

    assert listed() == ["old", "report"]
    assert listed(status="ACTIVE") == ["report"]
    assert listed(status="INACTIVE") == ["old"]
    assert listed(familyPrefix="o") == ["old"]


def test_a_size_may_be_written_with_its_unit(ecs: Call) -> None:
    status, _ = ecs("RegisterTaskDefinition", **definition(container(), cpu=".5 vCPU", memory="1 GB"))

    assert status == 200
