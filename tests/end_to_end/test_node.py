"""The node among peers: what arrives is segmented once, and the results reach whom they should."""

import pydicom

from node_cases import RESULT_CLASSES, node_options, pacs, running, send, states, study_on_disk, target, until


def test_a_study_that_is_sent_comes_back_as_results(tmp_path, phantom):
    images = study_on_disk(tmp_path / "study", phantom)
    with pacs() as (port, received):
        options = node_options(tmp_path / "store", send=(target(port),))
        with running(options) as node:
            assert set(send(node, images)) == {0}
            until(lambda: states(options) == [("done", 1)])
    assert [dataset.SOPClassUID for dataset in received] == list(RESULT_CLASSES.values())
    image = pydicom.dcmread(images[0])
    assert {dataset.StudyInstanceUID for dataset in received} == {image.StudyInstanceUID}
    assert {str(dataset.PatientName) for dataset in received} == {"CANARY^One"}
    assert [len(received[0].SegmentSequence), len(received[2].StructureSetROISequence)] == [2, 2]
