"""Saves every DAG that can be saved. Used by ``init``, beside Airflow."""

import sys
import traceback


def save_each() -> None:
    """Save each DAG of each bundle; one that cannot be serialized is an import error of its file.

    ``airflow dags reserialize`` saves none if one of them fails. The dag-processor does as this does, and a
    bundle that cannot be reached yet, as one in S3, is left to it.
    """
    from airflow.dag_processing.bundles.base import unpack_bundle_version
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.serialization.serialized_objects import DagSerialization

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        try:
            bundle.initialize()
        except Exception as error:  # whatever the bundle's source answers
            sys.stderr.write(f"init: {bundle.name} is read later, by the dag-processor: {error}\n")
            continue
        bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        for dag_id, dag in list(bag.dags.items()):
            try:
                DagSerialization.to_dict(dag)
            except Exception:  # whatever a user's own class makes of it
                bag.import_errors[dag.relative_fileloc] = traceback.format_exc()
                del bag.dags[dag_id]
        version, data = unpack_bundle_version(bundle.get_current_version(), bundle)
        sync_bag_to_db(bag, bundle.name, bundle_version=version, version_data=data)
