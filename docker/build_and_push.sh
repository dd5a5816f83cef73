#!/usr/bin/env bash
# Builds the image of mlpipe's jobs, or one that extends it, and pushes it to Amazon ECR.
#
#   docker/build_and_push.sh REPOSITORY            docker/Dockerfile
#   docker/build_and_push.sh REPOSITORY FOLDER     FOLDER/Dockerfile, on top of docker/Dockerfile
#
# Prints the URI of the image by its digest: the value of [SAGEMAKER] DOCKER_IMAGE_PATH. Everything else goes to stderr.
# The region is that of AWS_REGION, AWS_DEFAULT_REGION or the profile. BASE_IMAGE, TORCH_INDEX_URL and RUN_AS are passed
# on to docker/Dockerfile where they are set.
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 1
}

if [[ $# -lt 1 || $# -gt 2 || $1 == -* ]]; then
    fail "usage: $0 REPOSITORY [FOLDER]"
fi
repository=$1
if [[ $# -eq 2 ]]; then
    [[ -f $2/Dockerfile ]] || fail "$2/Dockerfile is not there"
    extension=$(cd "$2" && pwd)
fi
cd "$(dirname "$0")/.."

for command in aws docker; do
    command -v "$command" > /dev/null || fail "$command is not installed"
done
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[[ -n $region ]] || fail "no region: set AWS_REGION, or run 'aws configure'"
export AWS_REGION=$region AWS_PAGER=

account=$(aws sts get-caller-identity --query Account --output text) || fail "no credentials: run 'aws configure'"
partition=$(aws sts get-caller-identity --query Arn --output text | cut -d : -f 2)
domain=amazonaws.com
if [[ $partition == aws-cn ]]; then
    domain=amazonaws.com.cn
fi
registry=$account.dkr.ecr.$region.$domain
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' mlpipe/__init__.py)
[[ -n $version ]] || fail "mlpipe/__init__.py names no version"
# A tag is never given twice; what counts is the digest.
tag=$version-$(date -u +%Y%m%dT%H%M%SZ)
image=$registry/$repository:$tag

# SageMaker takes no image index, which attestations would make of the image.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
arguments=()
for name in BASE_IMAGE TORCH_INDEX_URL RUN_AS; do
    if [[ -n ${!name:-} ]]; then
        arguments+=(--build-arg "$name=${!name}")
    fi
done
if [[ -n ${extension:-} ]]; then
    base=mlpipe:$version
else
    base=$image
fi
docker build --platform linux/amd64 --file docker/Dockerfile --tag "$base" ${arguments[@]+"${arguments[@]}"} . >&2
if [[ -n ${extension:-} ]]; then
    arguments=(--build-arg "MLPIPE_IMAGE=$base")
    if [[ -n ${RUN_AS:-} ]]; then
        arguments+=(--build-arg "RUN_AS=$RUN_AS")
    fi
    docker build --platform linux/amd64 --tag "$image" ${arguments[@]+"${arguments[@]}"} "$extension" >&2
fi

if ! aws ecr describe-repositories --repository-names "$repository" > /dev/null 2>&1; then
    aws ecr create-repository --repository-name "$repository" --image-tag-mutability IMMUTABLE \
        --image-scanning-configuration scanOnPush=true >&2
fi
aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >&2
docker push "$image" >&2

digest=$(aws ecr describe-images --repository-name "$repository" --image-ids "imageTag=$tag" \
    --query 'imageDetails[0].imageDigest' --output text)
[[ $digest == sha256:* ]] || fail "$image was pushed, but the registry names no digest of it"
echo "$registry/$repository@$digest"
