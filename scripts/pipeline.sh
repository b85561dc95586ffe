#!/usr/bin/env bash
# Creates the GitHub environments of a stack, with the protection rules and variables that docs/guides/deploy.md (section 6)
# describes, and prints the IDs for `delivery` in the stack file. Idempotent.
#
#   pipeline.sh <stack> <owner>/<repository> <region> <backend URL> <beginning of the ARNs of the roles>
#
# `make bootstrap` prints the command. Requires gh, signed in as an administrator of the repository (gh auth login).
set -euo pipefail
stack=$1 repository=$2 region=$3 backend=$4 roles=$5

environment() { # name, variable and role
    local name=$1 path="repos/$repository/environments/$1"
    if [[ $name == *-preview ]]; then # runs the code of pull requests
        gh api --silent --method PUT "$path" -F 'reviewers[][type]=User' -F "reviewers[][id]=$(gh api user --jq .id)"
    else
        gh api --silent --method PUT "$path" -F 'deployment_branch_policy[protected_branches]=false' \
            -F 'deployment_branch_policy[custom_branch_policies]=true'
        if [[ $(gh api "$path/deployment-branch-policies" --jq '.branch_policies[].name') != main ]]; then
            gh api --silent --method POST "$path/deployment-branch-policies" -f name=main
        fi
    fi
    set_variable "$name" AWS_ACCOUNT "$(cut -d : -f 5 <<< "$roles")"
    set_variable "$name" AWS_REGION "$region"
    set_variable "$name" PULUMI_BACKEND_URL "$backend"
    set_variable "$name" "$2" "$roles$3"
}

set_variable() { gh variable set "$2" --repo "$repository" --env "$1" --body "$3"; }

environment "$stack" AWS_DEPLOY_ROLE deploy
environment "$stack-preview" AWS_PREVIEW_ROLE preview
environment "$stack-drift" AWS_PREVIEW_ROLE preview
environment "$stack-image" AWS_IMAGE_ROLE image
set_variable "$stack-image" AWS_REPOSITORY "${roles##*/}runtime"
gh variable set AWS_DELIVERY --repo "$repository" --body true
gh api "repos/$repository" --jq '"owner_id: \"\(.owner.id)\"\nrepository_id: \"\(.id)\""'
