#!/usr/bin/env bash
# Training on a slice of a Cloud TPU pod, which is asked for as a queued resource.
#
#   launch/tpu_pod.sh create                     # asks for the slice, and waits until it is there
#   launch/tpu_pod.sh install                    # this project on all its hosts
#   launch/tpu_pod.sh train --config configs/deforhmr_paper.py --init-from /shared/hmr2 --data.directory gs://BUCKET/data \
#       --output /shared/runs
#   launch/tpu_pod.sh delete
#
# The folder of runs must be on a file system that all hosts mount (Filestore, or a bucket by Cloud Storage FUSE); data
# sets may be in a bucket. The processes find each other by the variables of the TPU hosts. Adapt the lines below, or
# set them in the environment.
set -euo pipefail

NAME=${NAME:-hmr}
ZONE=${ZONE:-us-east5-b}
ACCELERATOR=${ACCELERATOR:-v6e-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv6e}
REPOSITORY=${REPOSITORY:-$(git remote get-url origin 2> /dev/null || true)}

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}

state() {
    gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" --format="value(state.state)"
}

case ${1:-} in
    create)
        gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \
            --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME"
        until [[ $(state) == ACTIVE ]]; do
            echo "$(date +%T) $(state)"
            if [[ $(state) == FAILED ]]; then
                exit 1
            fi
            sleep 30
        done
        ;;
    install)
        on_all_hosts "git clone '$REPOSITORY' hmr && cd hmr && python3 -m venv .venv \
            && .venv/bin/python -m pip install --quiet -e '.[train]' 'jax[tpu]'"
        ;;
    train)
        shift
        # On each host: again while the exit status says that the same command resumes (75: a signal, 76: a lost host).
        on_all_hosts "cd hmr && while true; do \
            .venv/bin/python train.py $(printf '%q ' "$@"); status=\$?; \
            if [ \$status -ne 75 ] && [ \$status -ne 76 ]; then exit \$status; fi; sleep 10; done"
        ;;
    delete)
        gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet
        ;;
    *)
        sed -n '2,/^set/s/^#\( \|$\)//p' "$0"
        exit 2
        ;;
esac
